// The file keeper's trees that engines have ready: which there are, when one is made, which go. For
// actors/file_keeper.cpp alone.
#pragma once

#include "actors/file_transfer.hpp"
#include "actors/prepared_trees.hpp"
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

  /// Volumes with those of the trees that are ready. Never an error.
  caf::result<prepared_trees> find(const prepared_query& query);

  /// The attempt's container is gone, and so go its volumes.
  void release(const attempt_key& attempt, const std::string& engine);

  /// A task's files were unpacked.
  void unpacked(const fill_order& order, const filled_files& what);

  /// Looks at what the engines have. What is over the limit goes, and what is nobody's.
  void look();

private:
  struct question;

  const engine_settings* settings_of(const std::string& engine) const;
  std::uint64_t limit(const std::string& engine) const;
  std::uint64_t least_free(const std::string& engine) const;
  engine_actor actor_of(const std::string& engine) const;
  void list(const std::string& engine, std::function<void()> then);
  void list(const std::string& engine, const engine_actor& actor, std::optional<std::uint64_t> free,
            std::function<void()> then);
  void once_listed(const std::string& engine, std::function<void()> then);
  void remove(const std::string& engine, const std::string& key);
  void look_up(const std::shared_ptr<question>& at);
  void give(const std::shared_ptr<question>& at, const std::string& base);
  void make(const fill_order& order, const std::string& base, const unpacked_tree& what, const std::string& key);

  files_actor::pointer self_;
  const context_ptr& context_;
  const files_handles& handles_;
  std::function<void(const std::string&, thread_work)> begin_;
  prepared_trees_table trees_;
};

} // namespace davit
