# Builds the example of the README as a user's project does. cmake -DWAY=installed|added -DLIBRARY_BUILD=… -DCOMPILER=…
#   installed  installs the library that was built into a folder of its own, finds it there, and runs the example
#   added      adds the repository's folder and compiles against it; the library itself is not compiled once more
cmake_path(SET repository NORMALIZE ${CMAKE_CURRENT_LIST_DIR}/../..)
set(folder ${LIBRARY_BUILD}/consumer-${WAY})
file(REMOVE_RECURSE ${folder})

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(READ ${repository}/README.md readme)
string(REGEX MATCH "```cpp\n([^`]*)```" ignored "${readme}")
file(WRITE ${folder}/example.cpp "${CMAKE_MATCH_1}")
file(GLOB kernels RELATIVE ${repository} ${repository}/kernels/*.hpp)
list(TRANSFORM kernels REPLACE "(.+)" "#include <clip/\\1>\n")
file(WRITE ${folder}/headers.cpp ${kernels})

set(configure ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR} -B ${folder}/build -G Ninja
    -DGENERATED=${folder} -DCMAKE_CXX_COMPILER=${COMPILER} "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
if(WAY STREQUAL installed)
  run(${CMAKE_COMMAND} --install ${LIBRARY_BUILD} --prefix ${folder}/prefix)
  run(${configure} -DCMAKE_PREFIX_PATH=${folder}/prefix)
  run(${CMAKE_COMMAND} --build ${folder}/build)
  run(${folder}/build/consumer)
else()
  run(${configure} -DCLIPCORE_FOLDER=${repository})
  run(${CMAKE_COMMAND} --build ${folder}/build --target CMakeFiles/consumer.dir/kernel.cpp.o)
endif()
