// An agent's side of files, which keeps its promises and nothing more: it can lose answers and forget uploads.
#pragma once

#include "blobs/digest.hpp"
#include "cli/client.hpp"
#include "transport/http_server.hpp"
#include "transport/io_runtime.hpp"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace davit::test {

/// How often of a hundred requests something goes wrong. Zeros: never.
struct agent_trouble {
  unsigned lost_before = 0; ///< The connection is lost before the request is looked at.
  unsigned lost_after = 0;  ///< It is done, and the answer is lost.
  unsigned busy = 0;        ///< 429, or 503.
  unsigned restarts = 0;    ///< All uploads are forgotten.
  unsigned partial = 0;     ///< Of a piece of an upload, only the beginning is taken.
  unsigned forgets = 0;     ///< A blob that was there is gone when the tree is asked for.
};

class fake_agent {
public:
  explicit fake_agent(std::uint64_t seed = 1, agent_trouble with = {});
  ~fake_agent();

  transport::endpoint where() const { return server_->where(); }

  // What it has, and what it was asked. To be looked at while no request is under way.
  std::map<blobs::digest, std::string> stored;
  std::set<blobs::digest> trees;
  std::map<std::string, int> requests; ///< By method and the first parts of the path.
  std::size_t largest_body = 0;
  std::uint64_t largest_upload = 0; ///< Of uploads with more than one blob.
  std::vector<std::string> broken;  ///< Rules that its client broke.
  /// Answers first, if it is there and gives something other than 0 as status.
  std::function<transport::server_response(const transport::server_request&)> before;

private:
  struct upload {
    std::string bytes;
  };
  transport::server_response handle(const transport::server_request& request);
  transport::server_response missing_of(const std::string& body);
  transport::server_response make_tree(const std::string& body);
  transport::server_response patch(upload& to, const transport::server_request& request);
  /// How many blobs came; -1: the bytes are not whole frames of what they are said to be.
  /// `again`: they may have come before, if the answer was lost.
  int take_frames(std::string_view bytes, bool again);
  void judge(transport::exchange_ptr one);
  bool happens(unsigned percent) { return random_() % 100 < percent; }

  std::mutex mutex_;
  std::mt19937_64 random_;
  agent_trouble trouble_;
  std::map<std::string, upload> uploads_;
  int next_upload_ = 0;
  transport::io_runtime io_{1};
  std::shared_ptr<transport::http_server> server_;
};

} // namespace davit::test
