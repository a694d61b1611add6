// A line for a container's /etc/hosts, as a task's spec has it.
#pragma once

#include <arpa/inet.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

namespace davit {

/// An IPv4 or IPv6 address, without brackets or zone.
inline bool is_ip_address(const std::string& text) {
  in6_addr room{};
  return text.find('\0') == text.npos
      && (::inet_pton(AF_INET, text.c_str(), &room) == 1 || ::inet_pton(AF_INET6, text.c_str(), &room) == 1);
}

struct host_entry {
  std::string name;
  std::string address; ///< Or `host-gateway`.

  /// Of `NAME:ADDRESS` or `NAME=ADDRESS`, the address perhaps in brackets, as the command line of Docker takes it.
  /// None: it is not of this form.
  static std::optional<host_entry> of(std::string_view text) {
    auto end = text.find_first_of(":=");
    if (end == text.npos)
      return std::nullopt;
    auto address = text.substr(end + 1);
    if (address.size() > 2 && address.front() == '[' && address.back() == ']')
      address = address.substr(1, address.size() - 2);
    host_entry entry{std::string{text.substr(0, end)}, std::string{address}};
    auto names = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_'
          || c == '-';
    };
    auto good = !entry.name.empty() && names(entry.name[0]) && entry.name[0] != '.' && entry.name[0] != '_'
             && entry.name[0] != '-' && std::all_of(entry.name.begin(), entry.name.end(), names);
    if (!good || (entry.address != "host-gateway" && !is_ip_address(entry.address)))
      return std::nullopt;
    return entry;
  }
};

} // namespace davit
