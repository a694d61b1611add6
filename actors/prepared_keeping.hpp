// The file keeper's prepared images: which there are, when one is made, which go. For actors/file_keeper.cpp alone.
#pragma once

#include "actors/file_transfer.hpp"
#include "actors/prepared_images.hpp"
#include "messages/actors.hpp"

#include <functional>

namespace davit {

class prepared_keeping {
public:
  /// What a thread does for an engine. It answers with what the actor does next.
  using thread_work = std::function<std::function<void()>(const transfer&)>;

  /// `self`: the actor that it belongs to, and `begin`, which gives work a thread. All live as long as it does.
  prepared_keeping(files_actor::pointer self, const context_ptr& context, const files_handles& handles,
                   std::function<void(const std::string&, thread_work)> begin)
    : self_(self), context_(context), handles_(handles), begin_(std::move(begin)) {}

  /// The prepared image for a task; without a name: there is none. Never an error.
  caf::result<prepared_image> find(const prepared_query& query);

  /// A task's inputs were unpacked.
  void unpacked(const fill_order& order, const filled_inputs& what);

  /// Looks at what the engines have; images whose base is gone go, and what is over the limit.
  void look();

private:
  struct view;
  struct question;

  std::uint64_t limit(const std::string& engine) const;
  void list(const std::string& engine, std::function<void()> then);
  void listed(const std::shared_ptr<view>& at);
  void once_listed(const std::string& engine, std::function<void()> then);
  void remove(const std::string& engine, const std::string& tag);
  void miss(const std::shared_ptr<question>& at);
  void look_up(const std::shared_ptr<question>& at);
  void look_at(const std::shared_ptr<question>& at, const std::string& base, const std::string& tag);
  void make(const fill_order& order, const filled_inputs& what, const std::string& tag);
  std::string name_of(const std::string& tag) const;

  files_actor::pointer self_;
  const context_ptr& context_;
  const files_handles& handles_;
  std::function<void(const std::string&, thread_work)> begin_;
  prepared_images images_;
};

} // namespace davit
