// The files of a tree from the packs that they lie in.
#pragma once

#include "blobs/medium.hpp"
#include "blobs/pack.hpp"
#include "blobs/stream.hpp"
#include "blobs/tree.hpp"

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace davit::blobs {

/// Where a blob lies.
struct blob_place {
  digest content;
  std::string pack; ///< The object's key in the medium.
  std::uint64_t offset = 0, size = 0;
  auto operator<=>(const blob_place&) const = default;
};

/// Is told which pack is not there, or has other bytes than it should.
using lost_pack = std::function<void(const std::string& pack)>;

/// Opens a few packs at once and keeps them open. What was lost is `missing`, and the message says what to do. One
/// thread at a time.
class packed_source final : public blob_source {
public:
  /// The medium lives longer than it, and than what it has opened.
  packed_source(medium& from, const std::vector<blob_place>& places, lost_pack lost = {});

  result<std::unique_ptr<byte_reader>> open(const tree_entry& file) override;
  /// `missing` if no place was given for it, too.
  result<std::unique_ptr<byte_reader>> open(const digest& content);
  result<std::uint64_t> size(const digest& content) const;
  /// A whole blob; `refused` if it has more bytes.
  result<std::string> read(const digest& content, std::uint64_t most);
  /// A part of a blob, which is not checked by its digest: from the offset on, and less only at the blob's end.
  result<std::size_t> read(const digest& content, std::uint64_t offset, std::span<char> into);

private:
  result<std::shared_ptr<object_reader>> pack(const std::string& key);
  result<blob_place> place(const digest& content) const;
  result<std::unique_ptr<byte_reader>> open(const digest& content, const std::string& name);

  medium& from_;
  lost_pack lost_;
  std::unordered_map<digest, blob_place> places_;
  std::vector<std::pair<std::string, std::shared_ptr<object_reader>>> open_; ///< The last used is the last.
};

/// The digests of all files of a tree, each once.
std::vector<digest> blobs_of(const tree& value);

} // namespace davit::blobs
