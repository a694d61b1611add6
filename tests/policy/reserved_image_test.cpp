#include "policy/policy.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace davit;

TEST_CASE("no task can name an image that davit makes for itself", "[policy][prepared]") {
  std::string error;
  auto rules = policy::make({}, error);
  REQUIRE(rules);
  auto refused = [&](const std::string& image) {
    task_spec spec;
    spec.image = image;
    auto judged = rules->judge(spec, policy_profile::privileged);
    return std::any_of(judged.violations.begin(), judged.violations.end(),
                       [](const auto& one) { return one.rule == "image.reserved"; });
  };
  auto digest = "@sha256:" + std::string(64, 'a');
  for (const auto& image : {std::string{"davit.invalid/prepared/0:1"}, std::string{"davit.invalid/x"},
                            std::string{"DAVIT.invalid/x"}, "davit.invalid/prepared/0" + digest})
    CHECK(refused(image));
  for (auto* image : {"davit.invalid.example/x", "example/davit.invalid/x", "davit", "davit.invalid:443/x"})
    CHECK(!refused(image));
}
