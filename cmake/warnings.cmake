# What davit's own code is compiled with, and nobody else's.
add_library(davit_warnings INTERFACE)
target_compile_options(davit_warnings INTERFACE -Wall -Wextra -Wpedantic -Wnon-virtual-dtor -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 sees uninitialized and dangling things in coroutines and optionals that are none, and mistakes what Asio inlines into
  # a coroutine frame for a mismatched allocation.
  target_compile_options(davit_warnings INTERFACE -Wno-maybe-uninitialized -Wno-restrict -Wno-mismatched-new-delete)
endif()

if(DAVIT_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(davit_warnings INTERFACE -Wno-subobject-linkage) # takes what a .cpp keeps to itself for a header's
endif()

add_compile_options(-fstack-protector-strong -fPIE)
add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie> -Wl,-z,relro,-z,now)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_definitions(_FORTIFY_SOURCE=2)
endif()
if(DAVIT_SANITIZE)
  # vptr asks for type information that SOCI does not export.
  add_compile_options(-fsanitize=${DAVIT_SANITIZE} -fno-sanitize=vptr -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${DAVIT_SANITIZE})
endif()
