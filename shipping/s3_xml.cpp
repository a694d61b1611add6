#include "shipping/s3_xml.hpp"

#include <pugixml.hpp>

#include <sstream>

namespace davit::shipping {

namespace {

/// A document, and its outermost element if it has the name that is asked for.
struct answer {
  pugi::xml_document document;
  pugi::xml_node top;
  answer(std::string_view text, const char* name) {
    if (document.load_buffer(text.data(), text.size()))
      top = document.child(name);
  }
  explicit operator bool() const { return static_cast<bool>(top); }
};

std::string text_of(const pugi::xml_node& parent, const char* name) {
  return parent.child_value(name);
}

timestamp time_of(const pugi::xml_node& parent, const char* name) {
  return parse_timestamp(parent.child_value(name)).value_or(timestamp{});
}

bool is_truncated(const pugi::xml_node& list) {
  return text_of(list, "IsTruncated") == "true";
}

} // namespace

std::optional<s3_problem> read_s3_problem(std::string_view text) {
  answer read{text, "Error"};
  if (!read)
    return std::nullopt;
  return s3_problem{text_of(read.top, "Code"), text_of(read.top, "Message"), text_of(read.top, "Region")};
}

std::optional<s3_listing> read_s3_listing(std::string_view text) {
  answer read{text, "ListBucketResult"};
  if (!read)
    return std::nullopt;
  s3_listing listing;
  for (const auto& one : read.top.children("Contents"))
    listing.objects.push_back(
      {text_of(one, "Key"), one.child("Size").text().as_ullong(), time_of(one, "LastModified")});
  if (is_truncated(read.top)) {
    listing.next = text_of(read.top, "NextContinuationToken");
    if (listing.next.empty())
      return std::nullopt;
  }
  return listing;
}

std::optional<s3_uploads> read_s3_uploads(std::string_view text) {
  answer read{text, "ListMultipartUploadsResult"};
  if (!read)
    return std::nullopt;
  s3_uploads list;
  for (const auto& one : read.top.children("Upload"))
    list.uploads.push_back({text_of(one, "Key"), text_of(one, "UploadId"), time_of(one, "Initiated")});
  if (is_truncated(read.top)) {
    list.next_key = text_of(read.top, "NextKeyMarker");
    list.next_id = text_of(read.top, "NextUploadIdMarker");
    if (list.next_key.empty())
      return std::nullopt;
  }
  return list;
}

std::optional<std::string> read_s3_upload_id(std::string_view text) {
  answer read{text, "InitiateMultipartUploadResult"};
  auto id = read ? text_of(read.top, "UploadId") : std::string{};
  return id.empty() ? std::nullopt : std::optional{id};
}

bool is_s3_completion(std::string_view text) {
  return static_cast<bool>(answer{text, "CompleteMultipartUploadResult"});
}

std::string s3_completion(const std::vector<std::string>& etags) {
  pugi::xml_document document;
  auto top = document.append_child("CompleteMultipartUpload");
  top.append_attribute("xmlns") = "http://s3.amazonaws.com/doc/2006-03-01/";
  unsigned number = 0;
  for (const auto& etag : etags) {
    auto part = top.append_child("Part");
    part.append_child("PartNumber").text() = ++number;
    part.append_child("ETag").text() = etag.c_str();
  }
  std::ostringstream text;
  document.save(text, "", pugi::format_raw);
  return text.str();
}

} // namespace davit::shipping
