# `cmake --install` puts library, headers and package files where `find_package(clipcore)` looks.

# The kernels' interfaces become <clip/kernels/…>, installed or not; what lies in their subfolders is not for users.
file(GLOB kernel_headers CONFIGURE_DEPENDS kernels/*.hpp)
foreach(header ${kernel_headers})
  cmake_path(GET header FILENAME name)
  file(READ ${header} content)
  string(REPLACE "#include \"kernels/" "#include \"clip/kernels/" content "${content}")
  file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/include/clip/kernels/${name} CONTENT "${content}")
  list(APPEND kernel_interfaces ${PROJECT_BINARY_DIR}/include/clip/kernels/${name})
endforeach()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${kernel_headers})
target_include_directories(clipcore INTERFACE $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>)

if(NOT PROJECT_IS_TOP_LEVEL)
  return()
endif()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/clipcore)

install(TARGETS clipcore EXPORT clipcore-targets INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/clip DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(FILES ${kernel_interfaces} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/clip/kernels)

install(EXPORT clipcore-targets NAMESPACE clipcore:: DESTINATION ${package_folder})
configure_package_config_file(cmake/clipcoreConfig.cmake.in ${PROJECT_BINARY_DIR}/clipcoreConfig.cmake
  INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/clipcoreConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/clipcoreConfig.cmake ${PROJECT_BINARY_DIR}/clipcoreConfigVersion.cmake
  DESTINATION ${package_folder})
