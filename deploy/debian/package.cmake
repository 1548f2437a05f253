# The Debian package, made by `script/package`. Paths are absolute: a package's settings are in /etc whatever its prefix.
set(CPACK_SET_DESTDIR ON)
set(DOC /usr/share/doc/fanmesh)
install(FILES deploy/fanmesh.ini DESTINATION /etc/fanmesh PERMISSIONS OWNER_READ OWNER_WRITE)
install(FILES deploy/fanmesh.service DESTINATION /lib/systemd/system)
install(FILES deploy/debian/copyright DESTINATION ${DOC})
install(FILES README.md CHANGELOG.md DESTINATION ${DOC})
install(DIRECTORY docs/ DESTINATION ${DOC}/docs)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME fanmesh)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "the fanmesh maintainers <maintainers@fanmesh.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "WebSocket gateway with cluster-wide fan-out")
set(CPACK_PACKAGE_DESCRIPTION
    "A backend publishes an update with one HTTP POST to any node, and every client that has joined the topic, on whichever node, receives it. "
    "Nodes form a cluster by themselves, and what is lost on the way is noticed and fetched again. Clients speak the protocol of Phoenix Channels.")
string(REPLACE ";" "" CPACK_PACKAGE_DESCRIPTION "${CPACK_PACKAGE_DESCRIPTION}")
set(CPACK_PACKAGE_FILE_NAME fanmesh) # with its version it would have another name for each; DEB-DEFAULT adds version and machine
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_STRIP_FILES ON)
# What the binary is linked with is found by dpkg-shlibdeps. libwebsockets loads its event loop by name, which nothing can find; the user is
# made by adduser.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libwebsockets-evlib-ev, adduser")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/deploy/debian/conffiles ${CMAKE_SOURCE_DIR}/deploy/debian/postinst
                                       ${CMAKE_SOURCE_DIR}/deploy/debian/prerm ${CMAKE_SOURCE_DIR}/deploy/debian/postrm)
include(CPack)
