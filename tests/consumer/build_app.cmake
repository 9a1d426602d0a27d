# SPDX-License-Identifier: MIT
# Builds and runs app/ against segnet; WAY is `install` or `subdirectory`. See CMakeLists.txt beside this file.

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE ${WORK_DIR})
if(WAY STREQUAL "install")
  run(${CMAKE_COMMAND} --install ${SEGNET_BINARY_DIR} --prefix ${WORK_DIR}/prefix)
  # Nothing but the installation may be used.
  set(where -DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix)
else()
  set(where -DSEGNET_SOURCE_DIR=${SEGNET_SOURCE_DIR})
endif()
run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/app -B ${WORK_DIR}/build -G ${GENERATOR}
  -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_BUILD_TYPE=Debug ${where})
run(${CMAKE_COMMAND} --build ${WORK_DIR}/build)
run(${WORK_DIR}/build/app)
