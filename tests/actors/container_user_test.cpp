#include "actors/container_user.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace davit;

TEST_CASE("a container's user is found as the engine finds it", "[files]") {
  const char* const passwd = "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1001::/home/node:/bin/sh\n"
                             "broken\n42:x:7:8::/:/bin/sh\nlast:x:5:6::/:/bin/sh";
  const char* const group = "root:x:0:\nstaff:x:50:node\n";
  auto found = [&](const char* user) { return find_user(user, passwd, group); };
  CHECK(found("") == container_user{0, 0});
  CHECK(found("root") == container_user{0, 0});
  CHECK(found("0") == container_user{0, 0});
  CHECK(found("node") == container_user{1000, 1001});
  CHECK(found("1000") == container_user{1000, 1001}); // the group of its line
  CHECK(found("1234") == container_user{1234, 0});
  CHECK(found("1234:5") == container_user{1234, 5});
  CHECK(found("node:staff") == container_user{1000, 50});
  CHECK(found("node:9") == container_user{1000, 9});
  CHECK(found("42") == container_user{7, 8}); // a name of digits comes first
  CHECK(found("last") == container_user{5, 6});
  CHECK(found("nobody") == container_user{0, 0}); // the engine refuses to start it
  CHECK_FALSE(needs_passwd(""));
  CHECK_FALSE(needs_passwd("0"));
  CHECK_FALSE(needs_passwd("5:6"));
  CHECK(needs_passwd("5"));
  CHECK(needs_passwd("node:6"));
  CHECK(needs_group("5:staff"));
  CHECK_FALSE(needs_group("5:6"));
}
