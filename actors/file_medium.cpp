#include "actors/file_medium.hpp"

#include "blobs/directory_medium.hpp"
#include "shipping/s3_medium.hpp"

#include <cstdlib>

namespace davit {

namespace {

template <class Medium>
blobs::result<std::shared_ptr<blobs::medium>> shared(blobs::result<std::unique_ptr<Medium>> opened) {
  if (!opened)
    return opened.error();
  return std::shared_ptr<blobs::medium>{std::move(*opened)};
}

} // namespace

blobs::result<std::shared_ptr<blobs::medium>> open_medium(const agent_settings& settings) {
  const auto& files = settings.files;
  if (files.url.empty() && settings.shared_store)
    return std::shared_ptr<blobs::medium>{};
  if (files.url.empty())
    return shared(blobs::directory_medium::open_folder(
      settings.blob_folder(), settings.private_tasks ? blobs::directory_medium::sharing::shared // as the store
                                                     : blobs::directory_medium::sharing::alone));
  auto bucket = shipping::parse_s3_url(files.url);
  if (!bucket)
    return bucket.error();
  bucket->endpoint = files.endpoint;
  bucket->region = files.region;
  bucket->path_style = files.path_style;
  bucket->tls_ca = files.tls_ca;
  return shared(
    shipping::s3_medium::open_bucket(*bucket, [](const char* name) -> const char* { return std::getenv(name); }));
}

} // namespace davit
