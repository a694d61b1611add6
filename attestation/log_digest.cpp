#include "attestation/log_digest.hpp"

#include <utility>

namespace davit::attestation {

void log_digest::add(const log_record& record) {
  if (record.stream == log_stream::note) {
    ++facts_.remark_count;
    if (facts_.remarks.size() < most_remarks) {
      auto text = record.bytes.substr(0, longest_remark);
      while (text.ends_with('\n'))
        text.pop_back();
      facts_.remarks.push_back(std::move(text));
    }
    return;
  }
  facts_.bytes += record.bytes.size();
  both_.add(record.bytes);
  (record.stream == log_stream::err ? err_ : out_).add(record.bytes);
}

log_facts log_digest::finish(log_state state) {
  auto facts = std::exchange(facts_, {});
  facts.state = state;
  facts.both = both_.finish();
  facts.out = out_.finish();
  facts.err = err_.finish();
  return facts;
}

} // namespace davit::attestation
