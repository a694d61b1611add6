set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(OpenSSL 3 REQUIRED) # before CAF: its openssl module asks for the targets
find_package(Boost 1.81 CONFIG REQUIRED COMPONENTS json url)
find_package(simdjson REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(re2 REQUIRED IMPORTED_TARGET re2)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(archive REQUIRED IMPORTED_TARGET libarchive)
pkg_check_modules(expat REQUIRED IMPORTED_TARGET expat)
find_path(PROTOZERO_INCLUDE protozero/pbf_reader.hpp REQUIRED)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)

# Beast and Asio are header-only; their separate compilation keeps them out of every object file.
add_library(davit_asio INTERFACE)
target_link_libraries(davit_asio INTERFACE Boost::headers OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
target_compile_definitions(davit_asio INTERFACE BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION
                                                BOOST_ASIO_NO_DEPRECATED)
if(DAVIT_SANITIZE MATCHES "thread")
  # The thread sanitizer does not know fences, and g++ warns of them. Asio's queues are guarded by mutexes besides; its reference counts
  # do without a fence if they are Boost's.
  target_compile_definitions(davit_asio INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK BOOST_ASIO_DISABLE_STD_ATOMIC)
endif()
if(DAVIT_FUZZERS)
  return()
endif()

find_package(spdlog REQUIRED)
find_package(pugixml REQUIRED) # linked statically: it is small, and nothing more to install where davit runs
find_path(SOCI_INCLUDE soci/soci.h REQUIRED)
find_library(SOCI_CORE soci_core REQUIRED)
find_library(SOCI_SQLITE soci_sqlite3 REQUIRED)
find_library(SOCI_POSTGRESQL soci_postgresql REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(PostgreSQL REQUIRED)
find_path(CLI11_INCLUDE CLI/CLI.hpp REQUIRED)

# Messages are made by one thread and freed by another, and that is where glibc's allocator is slow (docs/performance.md). Sanitizers bring their own.
# It is linked statically: nothing more to install where davit runs.
add_library(davit_allocator INTERFACE)
if(NOT DAVIT_SANITIZE)
  find_library(JEMALLOC jemalloc_pic REQUIRED)
  target_link_options(davit_allocator INTERFACE "LINKER:--undefined=malloc")
  target_link_libraries(davit_allocator INTERFACE ${JEMALLOC} Threads::Threads)
endif()

if(DAVIT_SANITIZE MATCHES "thread")
  set(caf_prefix ${DAVIT_DEPS}/caf-0.18.7-thread)
else()
  set(caf_prefix ${DAVIT_DEPS}/caf-0.18.7)
endif()
find_package(CAF 0.18.7 EXACT REQUIRED COMPONENTS core io openssl PATHS ${caf_prefix} NO_DEFAULT_PATH)

if(DAVIT_TESTS)
  find_package(Catch2 3 REQUIRED PATHS ${DAVIT_DEPS}/catch2-3.7.1 NO_DEFAULT_PATH)
endif()
