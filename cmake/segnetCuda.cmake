# SPDX-License-Identifier: MIT
# What segnet::cuda stands on: the CUDA toolkit and cuDNN 9. Used by our own build and by the installed package,
# so that both look in the same places and name what is missing in the same way.

# Folders beside the toolkit's that may hold cuDNN: cuDNN_ROOT (a variable, or one of the environment), and the
# package nvidia-cudnn of a Python environment that is active.
function(_segnet_cudnn_folders result)
  set(folders ${cuDNN_ROOT} $ENV{cuDNN_ROOT} ${CUDNN_ROOT} $ENV{CUDNN_ROOT})
  foreach(environment IN ITEMS $ENV{VIRTUAL_ENV} $ENV{CONDA_PREFIX})
    file(GLOB packages ${environment}/lib/python3*/site-packages/nvidia/cudnn)
    list(APPEND folders ${packages})
  endforeach()
  set(${result} ${folders} PARENT_SCOPE)
endfunction()

# Defines CUDA::cudart_static and segnet::cudnn. Sets `result` to a message that lists what is missing and where
# it was looked for; empty if all is there.
macro(segnet_find_cuda result)
  set(_missing "")
  find_package(CUDAToolkit 12 QUIET)
  if(NOT CUDAToolkit_FOUND)
    list(APPEND _missing
      "  CUDA toolkit 12 or newer: looked in CUDAToolkit_ROOT, for nvcc on the PATH and in /usr/local/cuda")
  endif()
  _segnet_cudnn_folders(_folders)
  find_path(SEGNET_cudnn_INCLUDE_DIR cudnn_graph.h
    HINTS ${_folders} ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include
    DOC "Directory that holds cudnn_graph.h")
  # A Python package has the library under its full name alone.
  find_library(SEGNET_cudnn_LIBRARY NAMES cudnn libcudnn.so.9
    HINTS ${_folders} ${CUDAToolkit_LIBRARY_DIR} PATH_SUFFIXES lib lib64
    DOC "cuDNN's library")
  mark_as_advanced(SEGNET_cudnn_INCLUDE_DIR SEGNET_cudnn_LIBRARY)
  set(_cudnn_version 0)
  if(SEGNET_cudnn_INCLUDE_DIR)
    file(STRINGS ${SEGNET_cudnn_INCLUDE_DIR}/cudnn_version.h _cudnn_lines REGEX "define CUDNN_(MAJOR|MINOR) ")
    string(REGEX REPLACE ".*MAJOR +([0-9]+).*MINOR +([0-9]+).*" "\\1.\\2" _cudnn_version "${_cudnn_lines}")
  endif()
  list(JOIN _folders ", " _folders)
  set(_searched "looked in cuDNN_ROOT, the toolkit's folders, CMAKE_PREFIX_PATH and the active Python environment")
  if(NOT SEGNET_cudnn_INCLUDE_DIR OR NOT SEGNET_cudnn_LIBRARY)
    list(APPEND _missing "  cuDNN 9.8 or a newer 9 (cudnn_graph.h and libcudnn): ${_searched}, folders: ${_folders}")
  elseif(_cudnn_version VERSION_LESS 9.8 OR _cudnn_version VERSION_GREATER_EQUAL 10)
    list(APPEND _missing "  cuDNN 9.8 or a newer 9: found ${_cudnn_version} in ${SEGNET_cudnn_INCLUDE_DIR}, ${_searched}")
  endif()

  set(${result} "")
  if(_missing)
    list(JOIN _missing "\n" _missing)
    set(${result} "segnet::cuda needs what was not found:\n${_missing}")
  elseif(NOT TARGET segnet::cudnn)
    add_library(segnet::cudnn SHARED IMPORTED GLOBAL)
    set_target_properties(segnet::cudnn PROPERTIES
      IMPORTED_LOCATION ${SEGNET_cudnn_LIBRARY}
      INTERFACE_INCLUDE_DIRECTORIES ${SEGNET_cudnn_INCLUDE_DIR})
  endif()
  unset(_missing)
endmacro()
