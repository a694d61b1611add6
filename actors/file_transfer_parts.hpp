// What threads of the file keeper share. For actors/file_transfer.cpp and actors/prepared_making.cpp alone.
#pragma once

#include "actors/container_user.hpp"
#include "actors/file_transfer.hpp"
#include "encoding/archive.hpp"
#include "transport/io_runtime.hpp"

#include <caf/typed_actor.hpp>

namespace davit::moving {

constexpr std::size_t piece_bytes = 256 << 10;
constexpr std::uint64_t passwd_bytes = 4 << 20;

// -- asking others ---------------------------------------------------------------------------------------------------

template <class T>
caf::expected<T> unanswered() {
  return make_failure(engine_errc::lost, "the engine's connection is being restarted");
}

template <class T, class Handle, class... Args>
caf::expected<T> ask(const transfer& with, const Handle& whom, Args&&... args) {
  if (!whom)
    return unanswered<T>();
  caf::expected<T> answer = unanswered<T>();
  with.self->request(whom, caf::infinite, std::forward<Args>(args)...)
    .receive([&](T& value) { answer = std::move(value); }, [&](caf::error& e) { answer = std::move(e); });
  return answer;
}

/// A tar on its way to the engine or from it.
class stream {
public:
  explicit stream(const transfer& with)
    : with_(with), channel_(std::make_shared<transport::byte_channel>(with.context->io.context().get_executor())) {
    with.stop->watch(channel_);
  }
  ~stream() {
    channel_->fail({engine_errc::cancelled, 0, "the transfer has ended"});
    with_.stop->watch(nullptr);
  }
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;

  transport::byte_channel& channel() { return *channel_; }

  /// Asks the engine's connection, with this stream as the last argument, and runs `move` while it does its part;
  /// answers with the engine's error if it has one.
  template <class Move, class... Args>
  caf::expected<void> run(Move move, Args&&... args) {
    if (!with_.engine)
      return unanswered<void>();
    auto pending = with_.self->request(
      with_.engine, caf::infinite, std::forward<Args>(args)...,
      file_stream{channel_->lend({engine_errc::lost, 0, "the engine's connection is being restarted"})});
    move();
    caf::expected<void> answer = caf::unit;
    std::move(pending).receive([] {}, [&](caf::error& e) { answer = std::move(e); });
    return answer;
  }

private:
  const transfer& with_;
  std::shared_ptr<transport::byte_channel> channel_;
};

inline std::string file_in(const transfer& with, const std::string& container, const std::string& path) {
  auto tar = ask<std::string>(with, with.engine, files_atom_v, container, path, passwd_bytes);
  auto file = tar ? encoding::only_file(*tar) : std::nullopt;
  return file ? file->bytes : std::string{};
}

/// Whose the files are to be.
inline container_user user_of(const transfer& with, const container_status& container) {
  const auto& user = container.user;
  return find_user(user, needs_passwd(user) ? file_in(with, container.id, "/etc/passwd") : std::string{},
                   needs_group(user) ? file_in(with, container.id, "/etc/group") : std::string{});
}

} // namespace davit::moving
