// Takes secrets out of what a container prints: wherever they stand, however the bytes are cut into records, and in the
// forms in which they get into logs by accident.
#pragma once

#include "messages/log.hpp"

#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace davit::secrets {

/// Shorter secrets can't be masked without masking everything.
inline constexpr std::size_t least_secret = 4;

/// The texts in which a secret may stand: itself, its lines (each of a multi-line one), with CR LF as a terminal has
/// it, in base64 (in each of the three phases, both alphabets), hexadecimal, and as URLs, JSON and shells escape it.
std::vector<std::string> forms_of(const std::string& secret);

/// The text without these secrets.
std::string masked(std::string text, const std::vector<std::string>& secrets);

/// A text, or the beginning of a longer one.
struct excerpt {
  std::string text;
  bool cut = false; ///< What followed is not known.
};

/// The texts without these secrets. Of one that is cut, the end is left out if it may be the beginning of a secret.
std::vector<std::string> masked(const std::vector<excerpt>& texts, const std::vector<std::string>& secrets);

/// Aho-Corasick over the records of one log. A record whose end may be the beginning of a secret is kept back until it
/// is known. Base64 is found over the ends of lines as well, as `base64` wraps it.
///
/// Within a stream the order is kept. If much is kept back, the other stream's records overtake.
class secret_masker {
public:
  explicit secret_masker(const std::vector<std::string>& secrets);
  ~secret_masker();

  secret_masker(const secret_masker&) = delete;
  secret_masker& operator=(const secret_masker&) = delete;

  static constexpr std::string_view mask = "***";

  /// More than this is not kept back for the order between the streams.
  static constexpr std::size_t most_kept = 256 * 1024;

  /// Takes a record; gives those that are decided by now, in their order. Each comes out once, with its stream and
  /// time, even if nothing of it is left.
  void add(log_record record, std::vector<log_record>& decided);

  /// Nothing more comes: gives the rest.
  void finish(std::vector<log_record>& decided);

  /// Whether a record is kept back.
  bool keeps() const { return !kept_.empty(); }

private:
  struct automaton;
  struct range {
    std::uint64_t begin, end;
  };
  struct stream_state {
    std::uint64_t position = 0; ///< Bytes seen.
    std::uint32_t node = 0;
    std::uint32_t wrapped_node = 0;
    std::vector<std::uint64_t> line_ends; ///< Positions that the wrapped match has passed over.
    std::deque<range> hidden;             ///< Ascending, apart from each other.
    std::uint64_t masked_to
      = ~0ull; ///< Behind the last mask that was given: what is hidden from there on is the same mask.

    std::uint64_t wrapped_begin(std::uint64_t letters) const;
    void hide(range found);
  };
  struct kept {
    log_record record;
    std::uint64_t begin = 0;
  };
  void release(std::vector<log_record>& decided, bool all);
  bool decided(const kept& one) const;
  void give(kept& one, std::vector<log_record>& decided);
  std::string masked(const kept& one);

  std::unique_ptr<automaton> plain_, wrapped_;
  stream_state streams_[4];
  std::deque<kept> kept_;
  std::size_t kept_bytes_ = 0;
};

} // namespace davit::secrets
