# spnl_test(NAME SOURCES file... LIBS lib...): one Boost.Test executable, known to ctest under NAME. Building the
# target ROOM_tests, for the first word ROOM of NAME, builds all tests of that room.
function(spnl_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LIBS;DEFINITIONS;ENVIRONMENT" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE spnl_warnings ${ARG_LIBS} Boost::unit_test_framework)
  target_compile_definitions(
    ${name}
    PRIVATE BOOST_TEST_DYN_LINK
            BOOST_TEST_MODULE=${name}
            SPNL_SHARED_DIR="${SPNL_SHARED_DIR}"
            SPNL_TEST_FIXTURES_DIR="${PROJECT_SOURCE_DIR}/tests/fixtures"
            ${ARG_DEFINITIONS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  string(REGEX MATCH "^[a-z]+" room ${name})
  if(NOT TARGET ${room}_tests)
    add_custom_target(${room}_tests)
  endif()
  add_dependencies(${room}_tests ${name})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
  if(ARG_ENVIRONMENT)
    set_tests_properties(${name} PROPERTIES ENVIRONMENT "${ARG_ENVIRONMENT}")
  endif()
endfunction()
