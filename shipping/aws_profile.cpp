#include "shipping/aws_profile.hpp"

#include "messages/regular_file.hpp"

#include <sstream>

namespace davit::shipping {

namespace {

using environment = std::function<const char*(const char*)>;

} // namespace

std::string aws_variable(const environment& get, const char* name) {
  auto value = get(name);
  return value ? value : "";
}

// An INI file.
std::string aws_file_value(const std::string& path, const std::string& profile, const std::string& name) {
  std::istringstream file{regular_file{path}.read().value_or("")};
  std::string line;
  bool inside = false;
  while (std::getline(file, line)) {
    auto trim = [](std::string text) {
      auto begin = text.find_first_not_of(" \t\r"), end = text.find_last_not_of(" \t\r");
      return begin == std::string::npos ? std::string{} : text.substr(begin, end - begin + 1);
    };
    line = trim(line);
    if (line.starts_with('[')) {
      auto title = trim(line.substr(1, line.find(']') - 1));
      inside = title == profile || title == "profile " + profile;
    } else if (auto equals = line.find('=');
               inside && equals != std::string::npos && trim(line.substr(0, equals)) == name) {
      return trim(line.substr(equals + 1));
    }
  }
  return {};
}

std::string aws_profile(const environment& get) {
  auto profile = aws_variable(get, "AWS_PROFILE");
  return profile.empty() ? "default" : profile;
}

std::string aws_shared_file(const environment& get, const char* variable, const char* usual) {
  auto path = aws_variable(get, variable);
  return path.empty() ? aws_variable(get, "HOME") + "/.aws/" + usual : path;
}

std::string find_aws_region(const environment& get) {
  for (auto name : {"AWS_REGION", "AWS_DEFAULT_REGION"})
    if (auto region = aws_variable(get, name); !region.empty())
      return region;
  return aws_file_value(aws_shared_file(get, "AWS_CONFIG_FILE", "config"), aws_profile(get), "region");
}

} // namespace davit::shipping
