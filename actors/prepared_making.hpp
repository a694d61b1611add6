// Makes a prepared image: what a thread of the file keeper does (docs/decisions/0020). It blocks.
#pragma once

#include "actors/file_transfer.hpp"

namespace davit {

struct making_order {
  fill_order inputs;                ///< That were unpacked, into a container of the base.
  std::string base;                 ///< The id of the image that is to have them too.
  std::string name;                 ///< Of the new image.
  std::uint64_t disk = 0;           ///< What it takes there, about.
  std::vector<std::string> instead; ///< Images that go first.
};

/// Answers with the bytes of the inputs. Errors: files_errc::refused if such an image can't be made there; others: not
/// now. What fails leaves no image.
caf::expected<std::uint64_t> make_prepared(const transfer& with, const making_order& order);

} // namespace davit
