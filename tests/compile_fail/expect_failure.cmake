# SPDX-License-Identifier: MIT
# cmake -DREGEX=... -DMAX_LINES=... -P expect_failure.cmake -- <source> <compiler and arguments>
# See segnet_compile_fail().

set(command "")
set(past_separator FALSE)
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE ${last})
  if(past_separator)
    list(APPEND command "${CMAKE_ARGV${i}}")
  elseif(CMAKE_ARGV${i} STREQUAL "--")
    set(past_separator TRUE)
  endif()
endforeach()

list(POP_FRONT command source)
list(APPEND command ${source})

file(READ ${source} text)
if(text MATCHES "SEGNET_CORRECTED")
  execute_process(COMMAND ${command} -DSEGNET_CORRECTED
    RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "The corrected source does not compile either:\n${output}")
  endif()
endif()

execute_process(COMMAND ${command} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
message("${output}")
if(status EQUAL 0)
  message(FATAL_ERROR "The source compiles, but must not.")
endif()
if(NOT output MATCHES "${REGEX}")
  message(FATAL_ERROR "The compiler's output does not match the regular expression\n  ${REGEX}")
endif()
string(REGEX MATCHALL "\n" newlines "${output}")
list(LENGTH newlines lines)
if(lines GREATER MAX_LINES)
  message(FATAL_ERROR "The compiler's output has ${lines} lines, more than ${MAX_LINES}.")
endif()
