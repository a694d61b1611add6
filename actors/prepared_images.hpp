// What the file keeper knows of the prepared images on each engine. Pure.
#pragma once

#include "messages/engine.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace davit {

/// Inputs that were unpacked: so many files, folders and links, so many bytes.
struct inputs_size {
  std::uint64_t entries = 0, bytes = 0;

  /// Whether unpacking them takes longer than what else a task's start does.
  bool is_large() const { return entries >= 1000 || bytes >= (64ull << 20); }
  /// What they take on a disk, about.
  std::uint64_t on_disk() const { return bytes + entries * 4096; }
};

class prepared_images {
public:
  using time = std::chrono::steady_clock::time_point;

  /// After how many times of unpacking an image is made, and how long one that could not be made is not tried again;
  /// `for_good` if it can't be made there.
  static constexpr int wanted_after = 2;
  static constexpr std::chrono::minutes retry_after{10};
  static constexpr std::chrono::hours for_good{24};

  /// Takes over what an engine has: images of one fleet's repository. `bases`: the sizes of the images that theirs were
  /// made from; images without a base are not kept.
  void list(const std::string& engine, const std::vector<image_summary>& all,
            const std::map<std::string, std::uint64_t>& bases, time now);
  bool listed(const std::string& engine) const;

  /// Whether some image there has these inputs.
  bool has_key(const std::string& engine, const std::string& key) const;
  bool has(const std::string& engine, const std::string& tag) const;
  void use(const std::string& engine, const std::string& tag, time now);
  void drop(const std::string& engine, const std::string& tag);

  /// Inputs were unpacked. True: an image of them is to be made now; none other is made there until it has ended.
  bool unpacked(const std::string& engine, const std::string& tag, time now);
  void made(const std::string& engine, const std::string& tag, std::uint64_t bytes, time now);
  void not_made(const std::string& engine, const std::string& tag, time until);

  /// The tags of images that have to go, the longest unused first, so that `more` bytes have room within the limit.
  std::vector<std::string> over(const std::string& engine, std::uint64_t limit, std::uint64_t more) const;
  std::uint64_t bytes(const std::string& engine) const;

private:
  struct image {
    std::uint64_t bytes = 0;
    time used;
  };
  struct wish {
    int times = 0;
    time last, not_before{};
  };
  struct place {
    bool listed = false, making = false;
    std::map<std::string, image> images; ///< By tag.
    std::map<std::string, wish> wishes;  ///< By tag; of those that are not there.
  };
  /// Of one engine. Trees that never come again push each other out.
  static constexpr std::size_t most_wishes = 1000;

  std::map<std::string, place> places_;
};

} // namespace davit
