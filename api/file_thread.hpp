// What a thread of the API has that reads files for a client. For api/api_*.cpp alone.
#pragma once

#include "actors/file_transfer.hpp"
#include "api/api_state.hpp"
#include "api/file_download.hpp"

namespace davit::api {

/// What one has for its work.
struct file_thread {
  self_pointer self; ///< For what it gives to the actor alone.
  caf::weak_actor_ptr actor;
  context_ptr context;
  exchange_ptr client;
  std::string owner;
  catalogue_access catalogue;

  owner_blobs mine() const { return {context->blobs, catalogue, owner}; }

  void answer(server_response response) const;
  void fail(const blobs::error& e) const;

  /// Begins the answer, and returns when it may be written to. False: it may not.
  bool begin(server_response response) const;
  /// Ends it. What is not whole is cut off, so that the client sees it.
  void finish(const blobs::result<void>& sent, const waiting_writer& to) const;

  /// A file's bytes, or the part of them that the request asks for.
  void send_file(const blobs::digest& content, std::uint64_t size) const;
  /// A tree as a tar.
  void send_tree(const blobs::tree& all) const;
};

/// Does the work on a thread of its own; a caller may have a few at once.
void on_thread(self_pointer self, exchange_ptr client, const caller& who, const std::string& owner,
               std::function<void(const file_thread&)> work);

/// An error of the file keeper, or of blobs.
server_response files_problem(const caf::error& e);

} // namespace davit::api
