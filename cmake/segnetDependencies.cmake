# SPDX-License-Identifier: MIT
# The libraries that segnet::segnet stands on. Used by our own build and by the installed package, so that
# both find the same things and name what is missing in the same way.

# A header-only library without a CMake package of its own becomes the system-include target segnet::<name>.
macro(_segnet_find_header name header suffix package)
  find_path(SEGNET_${name}_INCLUDE_DIR ${header} PATH_SUFFIXES ${suffix}
    DOC "Directory that holds ${header}")
  mark_as_advanced(SEGNET_${name}_INCLUDE_DIR)
  if(NOT SEGNET_${name}_INCLUDE_DIR)
    list(APPEND _missing "  ${header}: package ${package}, or set SEGNET_${name}_INCLUDE_DIR")
  elseif(NOT TARGET segnet::${name})
    add_library(segnet::${name} INTERFACE IMPORTED GLOBAL)
    target_include_directories(segnet::${name} INTERFACE ${SEGNET_${name}_INCLUDE_DIR})
  endif()
endmacro()

# Sets `result` to a message that lists what is missing and which Debian package has it; empty if all is there.
macro(segnet_find_dependencies result)
  set(_missing "")
  find_package(Eigen3 3.4 CONFIG QUIET)
  if(NOT Eigen3_FOUND)
    list(APPEND _missing "  Eigen 3.4: package libeigen3-dev")
  endif()
  find_package(nlohmann_json 3.10 CONFIG QUIET)
  if(NOT nlohmann_json_FOUND)
    list(APPEND _missing "  JSON for Modern C++ 3.10: package nlohmann-json3-dev")
  endif()
  find_package(Threads QUIET)
  if(NOT Threads_FOUND)
    list(APPEND _missing "  threads: package libc6-dev")
  endif()
  _segnet_find_header(stb stb_image.h stb libstb-dev)
  _segnet_find_header(protozero protozero/pbf_writer.hpp "" libprotozero-dev)

  set(${result} "")
  if(_missing)
    list(JOIN _missing "\n" _missing)
    set(${result} "segnet needs these libraries, which were not found (packages as Debian names them):\n${_missing}")
  endif()
  unset(_missing)
endmacro()
