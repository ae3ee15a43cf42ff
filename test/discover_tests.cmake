# Makes a test of ctest for each test case of a doctest program, whatever characters the case's name has:
#   cmake -DPROGRAM=... -DLABEL=... -DOTHER_ENGINE=... -DOUTPUT=... -P discover_tests.cmake
# Each case runs on the default protocol engine, and once more on the other one.
execute_process(COMMAND ${PROGRAM} --list-test-cases --no-colors OUTPUT_VARIABLE names RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} --list-test-cases ended with ${status}:\n${names}")
endif()

# Semicolons and brackets mean something in CMake's lists, commas in doctest's filters; `?` matches any character.
string(ASCII 28 semicolon)
string(ASCII 29 opening)
string(ASCII 30 closing)
string(REPLACE ";" ${semicolon} names "${names}")
string(REPLACE "[" ${opening} names "${names}")
string(REPLACE "]" ${closing} names "${names}")
string(REPLACE "\n" ";" names "${names}")

set(script "")
foreach(name IN LISTS names)
  if(name STREQUAL "" OR name MATCHES "^====" OR name MATCHES "^${opening}doctest${closing}")
    continue()
  endif()
  string(REGEX REPLACE "[,*\\\\${semicolon}${opening}${closing}]" "?" filter "${name}")
  string(APPEND script "add_test([==[${LABEL}: ${name}]==] [==[${PROGRAM}]==] [==[--test-case=${filter}]==])\n"
    # doctest is content with a filter that matches nothing.
    "set_tests_properties([==[${LABEL}: ${name}]==] PROPERTIES LABELS ${LABEL} TIMEOUT 120\n"
    "  FAIL_REGULAR_EXPRESSION [==[test cases: +0 ]==])\n"
    "add_test([==[${LABEL}, ${OTHER_ENGINE}: ${name}]==] [==[${PROGRAM}]==] [==[--test-case=${filter}]==])\n"
    "set_tests_properties([==[${LABEL}, ${OTHER_ENGINE}: ${name}]==] PROPERTIES LABELS ${LABEL} TIMEOUT 120\n"
    "  ENVIRONMENT SKEIN_TEST_ENGINE=${OTHER_ENGINE} FAIL_REGULAR_EXPRESSION [==[test cases: +0 ]==])\n")
endforeach()
string(REPLACE ${semicolon} ";" script "${script}")
string(REPLACE ${opening} "[" script "${script}")
string(REPLACE ${closing} "]" script "${script}")
file(WRITE ${OUTPUT} "${script}")
