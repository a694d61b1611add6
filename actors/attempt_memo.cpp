// An earlier success of the same is the answer.
#include "actors/attempt_machine.hpp"
#include "blobs/digest.hpp"
#include "json/write.hpp"

namespace davit {

/// What a success is found by: the image that ran, and what of the spec can change what comes out. Of secrets that is
/// their names; where, when and how often a task is tried is not a part of it, nor what its caches begin with.
std::string attempt_machine::memo_of(const std::string& image_id) const {
  auto what = run_.spec;
  for (auto& [name, hidden] : what.secrets)
    hidden = {};
  what.image = image_id;
  what.name.clear();
  what.labels.clear();
  what.dedupe_key.clear();
  what.traceparent.clear();
  what.caches.clear();
  what.engine = {};
  what.priority = 0;
  what.retry = {};
  what.at_most_once = what.memo = false;
  what.timeout.reset();
  what.stop_timeout.reset();
  what.pull_timeout.reset();
  what.queue_timeout.reset();
  what.profile.reset();
  what.pull = {};
  what.start = {};
  return to_text(blobs::digest_of(json::write(what)));
}

/// The engine says which image it is.
void attempt_machine::ask_memo() {
  enter(preparing{preparing::doing::memo_image, {}});
  act_on(ask::look_up_image{{}, run_.spec.image});
}

void attempt_machine::on(preparing&, const reply<ask::recall>& found) {
  run_.tried.memo_asked = true;
  if (found.value.attempt.empty())
    prepare();
  else
    answer(found.value);
}

void attempt_machine::answer(const memo_answer& found) {
  run_.answer_of = found.attempt;
  run_.outputs = found.outputs;
  verdict how;
  how.outcome = outcome::succeeded;
  how.exit_code = 0;
  how.message = "the answer of task " + found.attempt.substr(0, found.attempt.find('/')) + ", which succeeded at "
              + format_timestamp(found.finished_at);
  run_.evidence.start = "not at all: an earlier success of the same is the answer";
  end_log_and_report(std::move(how));
}

} // namespace davit
