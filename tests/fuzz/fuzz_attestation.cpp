// A signed statement of anybody: its envelope, and what is in it. The first line is the one, the rest the other.
#include "attestation/envelope.hpp"
#include "attestation/statement.hpp"
#include "encoding/base64.hpp"

using namespace davit::attestation;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string text{reinterpret_cast<const char*>(data), size}, why;
  static const public_key somebody{{1, 2, 3}};
  auto end = std::min(text.find('\n'), text.size());
  auto statement = text.substr(std::min(end + 1, text.size()));
  // As it came, and with the statement in a good envelope.
  for (const auto& one :
       {text.substr(0, end), R"({"payloadType":"t","payload":")" + davit::encoding::base64_encode(statement)
                               + R"(","signatures":[{"sig":"AAAA"}]})"})
    if (auto read = read_envelope(one, why)) {
      if (read->signatures.empty() || read->signatures.size() > most_signatures)
        __builtin_trap();
      // Nobody has signed anything here, whatever it says.
      if (signer_of(*read, {{somebody}, {std::string(64, '0')}}))
        __builtin_trap();
    } else if (why.empty())
      __builtin_trap();
  if (auto facts = read_statement(statement, why))
    for (const auto& [name, digest] : facts->subjects)
      if (digest.size() != 64)
        __builtin_trap();
  if (auto key = public_key::read_pem(text, why); key && !public_key::read_der(key->der()))
    __builtin_trap();
  return 0;
}
