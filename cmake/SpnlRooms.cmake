# Flags and output folders that hold for every room.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 99)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
# Backends of the build tree stand where an installation has them, seen from bin/.
set(SPNL_BACKEND_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib/spnl/backends")
set(SPNL_SHARED_DIR "${PROJECT_SOURCE_DIR}/../shared" CACHE PATH "Reference data for tests; may be absent")

add_library(spnl_warnings INTERFACE)
target_compile_options(
  spnl_warnings INTERFACE -Wall -Wextra $<$<COMPILE_LANGUAGE:CXX>:-Wpedantic> -Wshadow
                          $<$<BOOL:${SPNL_WERROR}>:-Werror>)
# GCC 12 sees overlapping copies in optimised string concatenation where there are none (GCC PR 105651), and takes
# members of optional and variant temporaries for uninitialised.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(spnl_warnings INTERFACE -Wno-restrict -Wno-maybe-uninitialized)
endif()

if(SPNL_SANITIZE)
  add_compile_options(-fsanitize=${SPNL_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${SPNL_SANITIZE})
  if(SPNL_SANITIZE STREQUAL "address")
    add_compile_options(-fsanitize=undefined -fno-sanitize-recover=undefined)
    add_link_options(-fsanitize=undefined)
  endif()
  if(SPNL_SANITIZE STREQUAL "thread")
    # ThreadSanitizer does not know fences. Asio's only add to its locks, so it can do without.
    add_compile_definitions(BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
endif()

find_package(Threads REQUIRED)
find_package(Boost 1.74 REQUIRED COMPONENTS filesystem program_options)
if(SPNL_TESTS)
  find_package(Boost 1.74 REQUIRED COMPONENTS unit_test_framework)
endif()
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
