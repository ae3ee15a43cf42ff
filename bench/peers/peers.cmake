# Debian: libwebsocketpp-dev, libwebsockets-dev with libev, golang-go with golang-github-gorilla-websocket-dev. The
# peers for Node and Python are scripts and need no building.
function(skein_peer_options target)
  skein_own_target(${target})
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endfunction()

find_path(SKEIN_WEBSOCKETPP_INCLUDE websocketpp/server.hpp)
find_path(SKEIN_LIBWEBSOCKETS_INCLUDE libwebsockets.h)
find_library(SKEIN_LIBWEBSOCKETS websockets)
find_program(SKEIN_GO go)
find_path(SKEIN_GOPATH src/github.com/gorilla/websocket/server.go HINTS /usr/share/gocode $ENV{GOPATH})
mark_as_advanced(SKEIN_WEBSOCKETPP_INCLUDE SKEIN_LIBWEBSOCKETS_INCLUDE SKEIN_LIBWEBSOCKETS SKEIN_GO SKEIN_GOPATH)

if(SKEIN_WEBSOCKETPP_INCLUDE)
  # Its headers do not compile as C++20. They come in as system headers, and are not made to warn.
  add_executable(bench-websocketpp peers/websocketpp.cpp)
  set_target_properties(bench-websocketpp PROPERTIES CXX_STANDARD 17 CXX_EXTENSIONS OFF RUNTIME_OUTPUT_DIRECTORY
    ${CMAKE_BINARY_DIR})
  target_include_directories(bench-websocketpp SYSTEM PRIVATE ${SKEIN_WEBSOCKETPP_INCLUDE})
  target_compile_options(bench-websocketpp PRIVATE -Wall -Wextra)
  target_link_libraries(bench-websocketpp PRIVATE Boost::headers Threads::Threads)
else()
  message(STATUS "No websocketpp: bench-websocketpp is left out")
endif()

if(SKEIN_LIBWEBSOCKETS_INCLUDE AND SKEIN_LIBWEBSOCKETS)
  add_executable(bench-libwebsockets peers/libwebsockets.cpp)
  skein_peer_options(bench-libwebsockets)
  target_link_libraries(bench-libwebsockets PRIVATE ${SKEIN_LIBWEBSOCKETS})
else()
  message(STATUS "No libwebsockets: bench-libwebsockets is left out")
endif()

if(SKEIN_GO AND SKEIN_GOPATH)
  add_custom_command(
    OUTPUT ${CMAKE_BINARY_DIR}/bench-gorilla
    COMMAND ${CMAKE_COMMAND} -E env GO111MODULE=off GOPATH=${SKEIN_GOPATH} GOCACHE=${CMAKE_CURRENT_BINARY_DIR}/go-cache
      GOFLAGS=-trimpath ${SKEIN_GO} build -o ${CMAKE_BINARY_DIR}/bench-gorilla main.go
    WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/peers/gorilla
    DEPENDS peers/gorilla/main.go
    COMMENT "Building bench-gorilla"
    VERBATIM)
  add_custom_target(bench-gorilla ALL DEPENDS ${CMAKE_BINARY_DIR}/bench-gorilla)
else()
  message(STATUS "No Go with gorilla/websocket: bench-gorilla is left out")
endif()
