// AWS's environment variables and shared files, as its own tools read them.
#pragma once

#include <functional>
#include <string>

namespace davit::shipping {

/// An environment variable; empty if it is not set. `get` is std::getenv, or a test's.
std::string aws_variable(const std::function<const char*(const char*)>& get, const char* name);

/// The profile that AWS_PROFILE names, or else `default`.
std::string aws_profile(const std::function<const char*(const char*)>& get);

/// Where a shared file lies: as the variable says, or `usual` in ~/.aws.
std::string
aws_shared_file(const std::function<const char*(const char*)>& get, const char* variable, const char* usual);

/// A profile's value in a shared file; empty if it is not there.
std::string aws_file_value(const std::string& path, const std::string& profile, const std::string& name);

/// The region that the environment or the shared configuration file names; empty if neither does.
std::string find_aws_region(const std::function<const char*(const char*)>& get);

} // namespace davit::shipping
