#include "blobs/error.hpp"

#include <cerrno>
#include <system_error>

namespace davit::blobs {

error system_error(const std::string& what, const char* can_not_be, int number) {
  auto text = what + " can't be " + can_not_be + ": ";
  switch (number) {
    case ENOSPC:
      return {errc::full, text + "the disk is full"};
    case EDQUOT:
      return {errc::full, text + "the disk quota is used up"};
    case EFBIG:
      return {errc::full, text + "it would be larger than a file may be"};
    case EIO:
      return {errc::failed, text + "the disk reports an input/output error"};
    case ENOENT:
      return {errc::missing, text + "it is not there"};
    default:
      return {errc::failed, text + std::generic_category().message(number)};
  }
}

} // namespace davit::blobs
