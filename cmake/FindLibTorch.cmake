# Finds libtorch without its own CMake package, whose CUDA wheels insist on a CUDA toolkit. Makes
#   LibTorch::torch_cpu  LibTorch::c10     imported, headers as system headers, C++11 ABI
#   LibTorch_VERSION                       "2.11.0", without the build's suffix
#   LibTorch_LIBRARY_DIRS                  what a run path needs
# SPNL_LIBTORCH (cache or environment) names a libtorch folder, a site-packages/torch folder or a Python environment
# that has torch; without it ~/.cache/spnl/libtorch-2.11.0 is tried.
set(_libtorch_hint "${SPNL_LIBTORCH}")
if(NOT _libtorch_hint)
  set(_libtorch_hint "$ENV{SPNL_LIBTORCH}")
endif()
set(_libtorch_named "SPNL_LIBTORCH")
if(NOT _libtorch_hint)
  set(_libtorch_hint "$ENV{HOME}/.cache/spnl/libtorch-2.11.0")
  set(_libtorch_named "the default place")
endif()

set(_libtorch_root "")
file(GLOB _libtorch_candidates "${_libtorch_hint}/lib/python3*/site-packages/torch")
foreach(candidate IN ITEMS "${_libtorch_hint}" "${_libtorch_hint}/torch" "${_libtorch_hint}/libtorch" ${_libtorch_candidates})
  if(EXISTS "${candidate}/include/ATen/ATen.h" AND EXISTS "${candidate}/lib/libtorch_cpu.so")
    set(_libtorch_root "${candidate}")
    break()
  endif()
endforeach()

function(_libtorch_fail text)
  if(LibTorch_FIND_REQUIRED)
    message(FATAL_ERROR "libtorch: ${text}\nSet SPNL_LIBTORCH to a libtorch folder or to a Python environment with "
                        "torch 2.11.0, or build without it: -DSPNL_MISTRALRS=OFF (preset notorch).")
  endif()
endfunction()

set(LibTorch_FOUND FALSE)
if(NOT _libtorch_root)
  _libtorch_fail("no include/ATen/ATen.h with lib/libtorch_cpu.so at ${_libtorch_hint} (${_libtorch_named}).")
  return()
endif()

# ---- version ----
set(LibTorch_VERSION "")
if(EXISTS "${_libtorch_root}/version.py")
  file(STRINGS "${_libtorch_root}/version.py" _libtorch_line REGEX "^__version__ *=")
  string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" LibTorch_VERSION "${_libtorch_line}")
elseif(EXISTS "${_libtorch_root}/build-version")
  file(READ "${_libtorch_root}/build-version" _libtorch_line)
  string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" LibTorch_VERSION "${_libtorch_line}")
endif()
if(NOT LibTorch_VERSION)
  _libtorch_fail("${_libtorch_root} has neither version.py nor build-version.")
  return()
endif()
if(LibTorch_VERSION VERSION_LESS 2.7) # from 2.7 on all builds have the C++11 ABI
  _libtorch_fail("${_libtorch_root} is ${LibTorch_VERSION}; 2.7 or newer is needed (made with 2.11.0).")
  return()
endif()

# ---- what libtorch_cpu.so itself needs: libgomp, and in CUDA builds libcudart and libcupti ----
get_filename_component(_libtorch_site "${_libtorch_root}/.." ABSOLUTE)
file(GLOB _libtorch_nvidia "${_libtorch_site}/nvidia/*/lib")
set(LibTorch_LIBRARY_DIRS "${_libtorch_root}/lib")
foreach(dir IN ITEMS ${_libtorch_nvidia} "${_libtorch_site}/torch.libs")
  if(IS_DIRECTORY "${dir}")
    list(APPEND LibTorch_LIBRARY_DIRS "${dir}")
  endif()
endforeach()
if(CMAKE_READELF)
  execute_process(COMMAND "${CMAKE_READELF}" -d "${_libtorch_root}/lib/libtorch_cpu.so" OUTPUT_VARIABLE _libtorch_dynamic
                  ERROR_QUIET)
  string(REGEX MATCHALL "lib(cudart|cupti|gomp)[^]]*" _libtorch_needed "${_libtorch_dynamic}")
  list(REMOVE_DUPLICATES _libtorch_needed)
  foreach(needed IN LISTS _libtorch_needed)
    find_file(_libtorch_file "${needed}" HINTS ${LibTorch_LIBRARY_DIRS} /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}
              /usr/local/cuda/lib64 NO_CACHE)
    if(NOT _libtorch_file)
      _libtorch_fail("libtorch_cpu.so needs ${needed}, found in none of ${LibTorch_LIBRARY_DIRS}. For a wheel of torch "
                     "made with CUDA: pip install --no-deps nvidia-cuda-runtime nvidia-cuda-cupti.")
      return()
    endif()
    unset(_libtorch_file)
  endforeach()
endif()

# ---- targets ----
if(NOT TARGET LibTorch::c10)
  add_library(LibTorch::c10 SHARED IMPORTED)
  set_target_properties(
    LibTorch::c10 PROPERTIES IMPORTED_LOCATION "${_libtorch_root}/lib/libc10.so"
                             INTERFACE_INCLUDE_DIRECTORIES "${_libtorch_root}/include")
  add_library(LibTorch::torch_cpu SHARED IMPORTED)
  set_target_properties(LibTorch::torch_cpu PROPERTIES IMPORTED_LOCATION "${_libtorch_root}/lib/libtorch_cpu.so"
                                                       INTERFACE_LINK_LIBRARIES LibTorch::c10)
  foreach(dir IN LISTS LibTorch_LIBRARY_DIRS)
    set_property(TARGET LibTorch::torch_cpu APPEND PROPERTY INTERFACE_LINK_OPTIONS "LINKER:-rpath-link,${dir}")
  endforeach()
endif()
set(LibTorch_FOUND TRUE)
message(STATUS "libtorch ${LibTorch_VERSION}: ${_libtorch_root}")
