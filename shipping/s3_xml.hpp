// The XML of S3: what it answers, and the list of an upload's parts. Amazon S3 API Reference, "Actions". pugixml reads
// it, which knows no external and no recursive entities.
#pragma once

#include "messages/units.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace davit::shipping {

/// Of any action.
struct s3_problem {
  std::string code;    ///< `NoSuchKey`
  std::string message; ///< In English, for people.
  std::string region;  ///< Where the bucket is, if that is the problem.
};

/// None: the text is not an error of S3.
std::optional<s3_problem> read_s3_problem(std::string_view text);

/// Of ListObjectsV2.
struct s3_listing {
  struct object {
    std::string key;
    std::uint64_t size = 0;
    timestamp modified{};
  };
  std::vector<object> objects;
  std::string next; ///< What continues the list; empty: this was its end.
};
std::optional<s3_listing> read_s3_listing(std::string_view text);

/// Of ListMultipartUploads.
struct s3_uploads {
  struct upload {
    std::string key;
    std::string id;
    timestamp begun{};
  };
  std::vector<upload> uploads;
  std::string next_key, next_id; ///< Where the list goes on; both empty: this was its end.
};
std::optional<s3_uploads> read_s3_uploads(std::string_view text);

/// The id that CreateMultipartUpload gives.
std::optional<std::string> read_s3_upload_id(std::string_view text);

/// Whether CompleteMultipartUpload says that the object is there.
bool is_s3_completion(std::string_view text);

/// What CompleteMultipartUpload is asked: the parts from 1 on, by their ETags.
std::string s3_completion(const std::vector<std::string>& etags);

} // namespace davit::shipping
