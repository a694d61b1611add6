#include "bench/stub_engine.hpp"

#include "json/read.hpp"
#include "json/write.hpp"

#include <iostream>

namespace davit::bench {

stub_engine::stub_engine(transport::io_runtime& io, const std::string& path) {
  auto server = transport::http_server::listen(io, transport::endpoint{path, {}, 0, {}}, {},
                                               [this](transport::exchange_ptr client) { answer(std::move(client)); });
  if (!server) {
    std::cerr << server.error().message << '\n';
    std::exit(1);
  }
  server_ = *server;
}

stub_engine::~stub_engine() {
  server_->stop();
}

std::size_t stub_engine::left() const {
  std::lock_guard guard{mutex_};
  return containers_.size();
}

void stub_engine::answer(transport::exchange_ptr client) {
  const auto& request = client->request();
  auto path = request.segments;
  if (!path.empty() && path[0].starts_with("v1."))
    path.erase(path.begin());
  auto respond = [&](int status, std::string body) {
    transport::server_response response{status, "application/json", std::move(body), {}};
    response.headers.emplace_back("Api-Version", "1.41");
    client->respond(std::move(response));
  };
  auto missing = [&] { respond(404, R"({"message":"No such container"})"); };
  if (path.size() == 1 && path[0] == "_ping")
    return respond(200, "OK");
  if (path.size() == 1 && path[0] == "version")
    return respond(200, R"({"Version":"stub","ApiVersion":"1.41","MinAPIVersion":"1.24","Os":"linux","Arch":"amd64"})");
  if (path.size() == 1 && path[0] == "info")
    return respond(
      200,
      R"({"ID":"stub","Name":"stub","ServerVersion":"stub","MemoryLimit":true,"PidsLimit":true,"Plugins":{"Log":["local"]}})");
  if (path.size() == 1 && path[0] == "events") // open for ever, and silent
    return client->begin({200, "application/json", "", {}});
  if (path.size() < 2 || path[0] != "containers")
    return missing();
  if (path[1] == "create") {
    json::parser parser;
    auto body = parser.parse(request.body);
    std::string labels = "{}";
    simdjson::dom::element found;
    if (body && (*body)["Labels"].get(found) == simdjson::SUCCESS)
      labels = simdjson::minify(found);
    auto name = request.parameter("name");
    std::lock_guard guard{mutex_};
    if (names_.contains(name))
      return respond(409, R"({"message":"Conflict. The container name is already in use"})");
    auto id = std::to_string(++last_);
    id.insert(0, 64 - id.size(), '0');
    names_[name] = id;
    containers_[id] = {name, labels, false};
    return respond(201, R"({"Id":")" + id + R"(","Warnings":[]})");
  }
  if (path[1] == "json")
    return respond(200, "[]");
  std::unique_lock guard{mutex_};
  auto id = path[1];
  if (auto named = names_.find(id); named != names_.end())
    id = named->second;
  auto entry = containers_.find(id);
  if (entry == containers_.end()) {
    guard.unlock();
    return missing();
  }
  if (request.method == "DELETE") {
    names_.erase(entry->second.name);
    containers_.erase(entry);
    return respond(204, "");
  }
  if (path.size() == 3 && path[2] == "start") {
    entry->second.started = true;
    ++started_;
    return respond(204, "");
  }
  if (path.size() == 3 && path[2] == "wait")
    return respond(200, R"({"StatusCode":0})");
  if (path.size() == 3 && path[2] == "json") {
    auto now = format_timestamp(std::chrono::system_clock::now());
    return respond(200, R"({"Id":")" + id + R"(","Name":"/)" + entry->second.name
                          + R"(","Image":"sha256:0","Config":{"Tty":false,"Labels":)" + entry->second.labels
                          + R"(},"State":{"Status":")" + (entry->second.started ? "exited" : "created")
                          + R"(","Running":false,"OOMKilled":false,"ExitCode":0,"Error":"","StartedAt":")" + now
                          + R"(","FinishedAt":")" + now + R"("}})");
  }
  if (path.size() == 3 && path[2] == "logs") {
    transport::server_response response{200, "application/vnd.docker.multiplexed-stream", "", {}};
    std::string line = format_timestamp(std::chrono::system_clock::now()) + " a line\n";
    response.body = std::string{"\1\0\0\0\0\0\0", 7} + static_cast<char>(line.size()) + line;
    return client->respond(std::move(response));
  }
  respond(501, R"({"message":"the stub does not know this"})");
}

} // namespace davit::bench
