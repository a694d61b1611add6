// What can go wrong with blobs and trees: a kind for the program, and a sentence for people.
#pragma once

#include <boost/assert/source_location.hpp>
#include <boost/system/result.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace davit::blobs {

enum class errc : std::uint8_t {
  invalid, ///< The caller asked for something that makes no sense, such as a key that is not a UUID.
  refused, ///< What came from outside breaks a rule or a limit.
  damaged, ///< Stored or sent bytes are not what they should be.
  missing, ///< There is no such object or file.
  exists,  ///< An object with this key is there already.
  changed, ///< A file changed while it was read.
  full,    ///< The disk or a quota is full, or a file would be larger than it may be.
  failed,  ///< The system or a device failed.
};

struct error {
  errc code = errc::failed;
  std::string message;
};

template <class T>
using result = boost::system::result<T, error>;

[[noreturn]] inline void throw_exception_from_error(const error& e, const boost::source_location&) {
  throw std::runtime_error(e.message);
}

/// What `errno` says about something, as a sentence: "DIR/x can't be written: the disk is full". Full disks, quotas and
/// size limits are `full`, a name that is not there is `missing`, all else `failed`.
error system_error(const std::string& what, const char* can_not_be, int number);

} // namespace davit::blobs
