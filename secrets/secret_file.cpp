#include "secrets/secret_file.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sys/stat.h>

namespace davit::secrets {

std::string wrong_secret_file(const std::filesystem::path& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0)
    return file.string() + " can't be read: " + std::strerror(errno);
  if ((info.st_mode & (S_IWGRP | S_IRWXO)) == 0)
    return {};
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", info.st_mode & 07777);
  return file.string() + (info.st_mode & S_IROTH ? " can be read by every user" : " is open to other users")
       + " of this machine (mode " + mode + "); run: chmod 600 " + file.string();
}

} // namespace davit::secrets
