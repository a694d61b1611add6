// The web page's files, which travel in the binary (api/page/).
#pragma once

#include <string_view>

namespace davit::api {

struct asset {
  std::string_view type;
  std::string_view bytes;
};

/// What is at `/`, `/page.css` and `/page.js`; empty for any other path.
asset page_asset(std::string_view path);

} // namespace davit::api
