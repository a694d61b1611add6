// Secrets in output, cut anywhere: nothing of them comes through, and the cuts make no difference.
#include "secrets/secret_masker.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace davit;
  if (size < 12 || size > 4096)
    return 0;
  auto step = static_cast<std::size_t>(data[0] % 13) + 1;
  auto length = static_cast<std::size_t>(data[1] % 12) + 4;
  if (size < 2 + length)
    return 0;
  std::string secret{reinterpret_cast<const char*>(data) + 2, length},
    text{reinterpret_cast<const char*>(data) + 2 + length, size - 2 - length};
  auto trimmed = secret.substr(0, secret.find_last_not_of("\r\n") + 1);
  if (trimmed.size() < secrets::least_secret || trimmed.find("***") != std::string::npos)
    return 0;
  auto mask = [&](std::size_t by) {
    secrets::secret_masker masker{{secret}};
    std::vector<log_record> out;
    std::size_t records = 0;
    for (std::size_t at = 0; at < text.size(); at += by, ++records)
      masker.add({log_stream::out, {}, text.substr(at, by)}, out);
    masker.finish(out);
    if (out.size() != records)
      std::abort();
    std::string all;
    for (auto& one : out)
      all += one.bytes;
    return all;
  };
  auto whole = mask(text.size() + 1), cut = mask(step);
  if (whole != cut)
    std::abort();
  // A mask may stand beside letters so that both together read like the secret, if that has stars in it.
  for (const auto& form : secrets::forms_of(secret))
    if (form.find('*') == std::string::npos && whole.find(form) != std::string::npos)
      std::abort();
  return 0;
}
