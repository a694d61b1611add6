// What a client submits: read, written, read again, judged by every profile. The strictest verdict holds whatever was
// asked.
#include "json/read.hpp"
#include "json/write.hpp"
#include "messages/task.hpp"
#include "policy/policy.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace davit;
  static const auto rules = [] {
    std::string error;
    return policy::make({}, error);
  }();
  auto spec
    = json::read<task_spec>(std::string_view{reinterpret_cast<const char*>(data), size}, json::unknown_fields::refuse);
  if (!spec)
    return 0;
  auto text = json::write(*spec);
  auto again = json::read<task_spec>(std::string_view{text}, json::unknown_fields::refuse);
  if (!again || json::write(*again) != text)
    std::abort();
  for (const auto& [name, hidden] : spec->secrets)
    if (json::write(hidden) != "\"***\"")
      std::abort();
  for (auto profile : {policy_profile::restricted, policy_profile::baseline, policy_profile::privileged}) {
    auto judged = rules->judge(*spec, profile);
    if (profile != policy_profile::privileged && judged.violations.empty()) {
      if (judged.effective.privileged || !judged.effective.devices.empty() || judged.effective.network == "host")
        std::abort();
      for (const auto& one : judged.effective.mounts)
        if (one.type == mount_type::bind)
          std::abort();
    }
  }
  return 0;
}
