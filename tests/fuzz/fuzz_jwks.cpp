// An identity provider's keys, and a signature that none of them has made.
#include "api/jwks.hpp"

using namespace davit::api;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string why;
  auto keys = key_set::parse({reinterpret_cast<const char*>(data), size}, why);
  if (!keys)
    return 0;
  jwt token;
  token.key_id = "k";
  token.signed_part = "e30.e30";
  for (std::size_t length : {64, 256})
    for (const char* algorithm : {"RS256", "ES256"}) {
      token.algorithm = algorithm;
      token.signature.assign(length, '\1');
      if (keys->verify(token) && keys->knows(token) == false)
        __builtin_trap();
    }
  return 0;
}
