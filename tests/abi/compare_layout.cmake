# Runs PROGRAM and compares what it prints with GOLDEN.
execute_process(COMMAND "${PROGRAM}" OUTPUT_VARIABLE got RESULT_VARIABLE result)
file(READ "${GOLDEN}" want)
if(NOT result EQUAL 0 OR NOT got STREQUAL want)
  message(FATAL_ERROR "The layout of the ABI is not that of ${GOLDEN}. Structs grow at their end only, and the least size "
                      "never changes; if that is kept, write the new layout into the file.\n${got}")
endif()
