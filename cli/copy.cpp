#include "cli/copy.hpp"

#include "cli/task_flags.hpp"
#include "encoding/archive.hpp"
#include "transport/http_client.hpp"

#include <filesystem>
#include <iostream>

namespace davit {

void copy_files(api_client& client, const std::string& source, const std::string& folder) {
  auto colon = source.find(':');
  if (colon == std::string::npos || colon + 1 >= source.size() || source[colon + 1] != '/')
    usage("cp: write TASK:/PATH, not \"" + source + "\"");
  std::error_code ec;
  if (folder != "-" && !std::filesystem::is_directory(folder, ec))
    usage("cp: " + folder + " is not an existing folder");
  auto tar = client.call("GET", "/v1/tasks/" + transport::url_encode(source.substr(0, colon))
                                  + "/files?path=" + transport::url_encode(source.substr(colon + 1)));
  if (folder == "-") {
    std::cout << tar;
    return;
  }
  auto done = encoding::unpack(tar, folder);
  if (!done)
    throw command_failure{done.error().message};
  std::cerr << done->files << " files, " << done->bytes << " bytes\n";
}

} // namespace davit
