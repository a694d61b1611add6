#include "cli/copy.hpp"

#include "cli/outputs.hpp"
#include "encoding/archive.hpp"
#include "transport/http_client.hpp"

#include <filesystem>
#include <iostream>

namespace davit {

void copy_files(api_client& client, const std::string& source, const std::string& folder) {
  auto colon = source.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == source.size())
    usage("cp: write TASK:/PATH or TASK:NAME[/PATH], not \"" + source + "\"");
  auto task = source.substr(0, colon), path = source.substr(colon + 1);
  if (!path.starts_with('/')) {
    auto name = path.substr(0, path.find('/'));
    if (!is_output_name(name))
      usage("cp: \"" + name + "\" is not the name of an output; a path in the container begins with /");
    return copy_output(client, task, name, path.substr(name.size()), folder);
  }
  std::error_code ec;
  if (folder != "-" && !std::filesystem::is_directory(folder, ec))
    usage("cp: " + folder + " is not an existing folder");
  auto tar
    = client.call("GET", "/v1/tasks/" + transport::url_encode(task) + "/files?path=" + transport::url_encode(path));
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
