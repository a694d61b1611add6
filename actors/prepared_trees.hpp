// What the file keeper knows of the trees that each engine has ready. Pure.
#pragma once

#include "messages/engine.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace davit {

/// A tree that was unpacked: so many files, folders and links, so many bytes.
struct tree_size {
  std::uint64_t entries = 0, bytes = 0;

  /// Whether unpacking it takes longer than what else a task's start does.
  bool is_large() const { return entries >= 1000 || bytes >= (64ull << 20); }
  /// What it takes on a disk, about.
  std::uint64_t on_disk() const { return bytes + entries * 4096; }
};

class prepared_trees_table {
public:
  using time = std::chrono::steady_clock::time_point;

  /// After how many times of unpacking a tree is prepared, and how long one that could not be is not tried again;
  /// `for_good` if it can't be prepared there.
  static constexpr int wanted_after = 2;
  static constexpr std::chrono::minutes retry_after{10};
  static constexpr std::chrono::hours for_good{24};
  /// For how long a volume of a fleet's trees is seen that belongs to none and is used by nothing, before it goes.
  /// Between the making of a volume and that of the container that uses it there is less.
  static constexpr std::chrono::minutes orphan_age{5};

  /// Takes over which volumes of a fleet's trees an engine has.
  void list(const std::string& engine, const std::string& fleet, const std::vector<volume_summary>& all, time now);
  bool listed(const std::string& engine) const;

  /// Volumes that can go, if nothing uses them: those of no tree, and those of containers, also without a name. Each is
  /// named once in `orphan_age`.
  std::vector<std::string> orphans(const std::string& engine, time now);

  bool has_any(const std::string& engine) const;
  bool has(const std::string& engine, const std::string& key) const;
  void use(const std::string& engine, const std::string& key, time now);
  void drop(const std::string& engine, const std::string& key);

  /// A tree was unpacked. True: it is to be prepared now; none other is there until this has ended.
  bool unpacked(const std::string& engine, const std::string& key, time now);
  void made(const std::string& engine, const std::string& key, std::uint64_t bytes, time now);
  void not_made(const std::string& engine, const std::string& key, time until);

  /// The keys of trees that have to go, the longest unused first, so that `more` bytes have room within the limit.
  std::vector<std::string> over(const std::string& engine, std::uint64_t limit, std::uint64_t more) const;
  std::uint64_t bytes(const std::string& engine) const;
  /// How many bytes the trees may have: the limit, less if that leaves fewer than `least` bytes of the engine's disk
  /// free; `free` is what it has now, if that is known.
  std::uint64_t
  room(const std::string& engine, std::uint64_t limit, std::uint64_t least, std::optional<std::uint64_t> free) const;

private:
  struct tree {
    std::uint64_t bytes = 0;
    time used;
  };
  struct wish {
    int times = 0;
    time last, not_before{};
  };
  struct place {
    bool listed = false, making = false;
    std::map<std::string, tree> trees;   ///< By key.
    std::map<std::string, wish> wishes;  ///< By key; of those that are not there.
    std::map<std::string, time> suspect; ///< Volumes that may be nobody's, since when.
  };
  /// Of one engine. Trees that never come again push each other out.
  static constexpr std::size_t most_wishes = 1000;

  std::map<std::string, place> places_;
};

} // namespace davit
