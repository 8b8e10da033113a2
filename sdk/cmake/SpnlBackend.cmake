# spnl_add_backend(NAME ID id VERSION version SOURCES file... LIBS lib... PREFIXES prefix... [CAPS word...]
#                  [PROCESS_WIDE name=version ...])
# A shared library NAME.so with hidden symbols, one exported entry, no undefined names and $ORIGIN as its run path,
# and beside it NAME.spnl.json, from which hosts list and route without loading it.
set(SPNL_BACKEND_CMAKE_DIR "${CMAKE_CURRENT_LIST_DIR}")

function(spnl_json_list out)
  set(items "")
  foreach(item IN LISTS ARGN)
    list(APPEND items "\"${item}\"")
  endforeach()
  list(JOIN items ", " joined)
  set(${out} "[${joined}]" PARENT_SCOPE)
endfunction()

function(spnl_add_backend name)
  cmake_parse_arguments(ARG "" "ID;VERSION;VENDOR;LICENSE" "SOURCES;LIBS;PREFIXES;CAPS;PROCESS_WIDE" ${ARGN})
  if(NOT SPNL_BACKEND_OUTPUT_DIRECTORY)
    set(SPNL_BACKEND_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
  endif()
  set(version_script "${SPNL_BACKEND_CMAKE_DIR}/backend.map")
  add_library(${name} MODULE ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS})
  target_link_options(
    ${name} PRIVATE "LINKER:--version-script=${version_script}" "LINKER:--exclude-libs,ALL"
    $<$<NOT:$<BOOL:${SPNL_SANITIZE}>>:LINKER:-z,defs>)
  set_target_properties(
    ${name}
    PROPERTIES PREFIX ""
               LIBRARY_OUTPUT_DIRECTORY "${SPNL_BACKEND_OUTPUT_DIRECTORY}"
               LINK_DEPENDS "${version_script}"
               CXX_VISIBILITY_PRESET hidden
               C_VISIBILITY_PRESET hidden
               VISIBILITY_INLINES_HIDDEN ON
               INSTALL_RPATH "$ORIGIN")
  spnl_json_list(prefixes ${ARG_PREFIXES})
  spnl_json_list(caps ${ARG_CAPS})
  spnl_json_list(process_wide ${ARG_PROCESS_WIDE})
  file(
    GENERATE
    OUTPUT "${SPNL_BACKEND_OUTPUT_DIRECTORY}/${name}.spnl.json"
    CONTENT
      "{
  \"id\": \"${ARG_ID}\",
  \"version\": \"${ARG_VERSION}\",
  \"vendor\": \"${ARG_VENDOR}\",
  \"license\": \"${ARG_LICENSE}\",
  \"abi\": {\"major\": 1, \"minor_needed\": 0},
  \"library\": \"${name}.so\",
  \"prefixes\": ${prefixes},
  \"capabilities\": ${caps},
  \"process_wide\": ${process_wide}
}
")
endfunction()
