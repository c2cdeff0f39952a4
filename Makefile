# SPDX-License-Identifier: GPL-3.0-or-later
# `make help` says what there is to make.

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR    ?=
PYTHON     ?= /usr/bin/python3
CC         ?= cc
CFLAGS     ?= -O2 -g
WERROR     ?= -Werror
MUSL_GCC   ?= $(shell command -v musl-gcc 2>/dev/null)
INSTALL    ?= install
REINSTALL  ?= # the command that installs a package again; empty for an installation by make
BUILD      ?= build
# The command that repairs this installation, after sudo.
MAKE_AGAIN  = make -C $(if $(word 2,$(CURDIR)),\x27$(CURDIR)\x27,$(CURDIR)) install$(if \
              $(filter-out /usr/local,$(PREFIX)), PREFIX=$(PREFIX))$(if $(filter-out \
              /etc,$(SYSCONFDIR)), SYSCONFDIR=$(SYSCONFDIR))

CONFIG_DIR  = $(SYSCONFDIR)/pybind
HELPER      = $(PREFIX)/libexec/pybind/pybind-helper
LIBRARY     = $(PREFIX)/lib/pybind/libpybind.so
BPF_OBJECT  = $(PREFIX)/lib/pybind/pybind.bpf.o
SHARE       = $(PREFIX)/share/pybind
AUTHBIND_PY = $(SHARE)/startauthbind.py
MANDIR      = $(PREFIX)/share/man
UNITDIR     = $(PREFIX)/lib/systemd/system
DOCDIR      = $(PREFIX)/share/doc/pybind
EXAMPLES    = $(patsubst examples/%,%,$(shell find examples -type f))

WARNINGS = -Wall -Wextra -Wconversion -Wno-sign-conversion -Wshadow -Wstrict-prototypes \
           -Wmissing-prototypes -Wvla -Wformat=2 $(WERROR)
COMMON   = -std=c11 -D_GNU_SOURCE $(WARNINGS) $(CFLAGS)

# musl starts in a tenth of glibc's time. Its gcc wrapper has no linux/*.h, and cannot link a static
# PIE by itself, hence the start files by name.
MULTIARCH   := $(shell $(CC) -print-multiarch 2>/dev/null)
MUSL_DIR     = /usr/lib/$(subst -gnu,-musl,$(MULTIARCH))
# gcc 11 (RHEL 9) does not have this option yet.
AUTO_INIT   := $(shell $(CC) -ftrivial-auto-var-init=zero -E -x c /dev/null >/dev/null 2>&1 && \
                 echo -ftrivial-auto-var-init=zero)
HARDENING    = -fPIE -fstack-protector-strong $(AUTO_INIT) -fno-strict-aliasing
ifneq ($(and $(MUSL_GCC),$(wildcard $(MUSL_DIR)/rcrt1.o)),)
HELPER_CC    = $(MUSL_GCC) -idirafter /usr/include -idirafter /usr/include/$(MULTIARCH)
HELPER_LINK  = -static -nostartfiles -Wl,-pie,--no-dynamic-linker \
               $(MUSL_DIR)/rcrt1.o $(MUSL_DIR)/crti.o $(HELPER_SRC) $(MUSL_DIR)/crtn.o
else
HELPER_CC    = $(CC)
HELPER_LINK  = -static-pie $(HELPER_SRC)
endif
HELPER_FLAGS = $(COMMON) $(HARDENING) -DCONFIG_DIR='"$(CONFIG_DIR)"' \
               -Wl,-z,relro,-z,now,-z,noexecstack,--build-id
# If the library lacks a symbol, no program starts. No libc has the atomics that gcc calls by name
# on 64-bit ARM (outline atomics), and LTO drops functions that only the compiler calls (memcpy).
# Any other missing symbol ends the build.
NO_OUTLINE  := $(shell $(CC) -Werror -mno-outline-atomics -c -x c -o /dev/null /dev/null 2>/dev/null && \
                 echo -mno-outline-atomics)
LIBRARY_FLAGS = $(COMMON) $(NO_OUTLINE) -U_FORTIFY_SOURCE -fPIC -ffreestanding -fno-lto -fvisibility=hidden -fno-stack-protector \
               $(if $(findstring clang,$(CC)),,-fno-tree-loop-distribute-patterns) \
               -fno-asynchronous-unwind-tables \
               -nostdlib -shared -Wl,-z,defs,-z,relro,-z,now,-z,noexecstack,--hash-style=both \
               -DCONFIG_DIR='"$(CONFIG_DIR)"' -DHELPER_PATH='"$(HELPER)"' \
               -DLIBRARY_PATH='"$(LIBRARY)"'
STARTER_FLAGS = $(COMMON) -Wno-vla -static -Wl,-z,relro,-z,noexecstack,--build-id -DPYTHON='"$(PYTHON)"'

# The programs that pybindd(8) loads into the kernel. Everything else can be built without them.
BPF_CLANG   ?= clang
BPF_INCLUDE := -I/usr/include/$(shell cc -print-multiarch 2>/dev/null) # the builder's, also in a cross build
BPF_FLAGS    = -target bpf -O2 -g -Wall -Wextra -Wno-unused-parameter $(WERROR) $(BPF_INCLUDE) \
               -fdebug-compilation-dir=.
BPF_BUILDS  := $(shell printf '\043include <linux/bpf.h>\n\043include <bpf/bpf_core_read.h>\n' | \
                 $(BPF_CLANG) -target bpf $(BPF_INCLUDE) -E -x c - >/dev/null 2>&1 && echo yes)
BPF          = $(if $(BPF_BUILDS),$(BUILD)/pybind.bpf.o,no-bpf)

HELPER_SRC  = $(wildcard helpers/helper/*.c)
LIBRARY_SRC = $(wildcard helpers/preload/*.c)
HEADERS     = helpers/protocol.h $(wildcard helpers/helper/*.h helpers/preload/*.h)
MODULES     = $(shell find pybind -name '*.py')
MAN1        = man/pybind.1
MAN5        = man/pybind.5
MAN7        = man/pybind-troubleshooting.7
MAN8        = man/pybindctl.8 man/pybind-helper.8 man/pybindd.8

# In the repository the pages and examples name the default paths. Installed, they name this build's.
OWN_PATHS    = sed -i -e 's|/usr/local/share/doc/pybind|$(DOCDIR)|g' -e 's|/usr/local|$(PREFIX)|g' \
               -e 's|/etc/pybind|$(CONFIG_DIR)|g'

AUTHBIND    = $(DESTDIR)$(PREFIX)/bin/authbind
AUTHBIND_1  = $(DESTDIR)$(MANDIR)/man1/authbind.1

# Files that root builds in another user's clone belong to that user: `sudo make demo`, then `make`.
ifeq ($(shell id -u),0)
OWNER       := $(shell stat -c '%u:%g' $(dir $(abspath $(BUILD))) 2>/dev/null)
ifneq ($(filter-out 0:%,$(OWNER)),)
OWNER_ID    := $(firstword $(subst :, ,$(OWNER)))
OWNER_HOME  := $(shell getent passwd $(OWNER_ID) | cut -d: -f6)
AS_OWNER    := setpriv --reuid=$(OWNER_ID) --regid=$(lastword $(subst :, ,$(OWNER))) --clear-groups --inh-caps=-all \
               -- $(if $(word 2,$(OWNER_HOME)),,$(OWNER_HOME:%=env HOME=%))
AS_OWNER    := $(shell $(AS_OWNER) test -w $(dir $(abspath $(BUILD))) 2>/dev/null && echo '$(AS_OWNER)')
endif
endif
ifneq ($(AS_OWNER),)
# Comes after a command that root has to run: gives its files below $(BUILD) to the clone's owner.
GIVE_BACK   := ; status=$$?; chown -RhP --from=0 $(OWNER) $(BUILD); exit $$status
SETPRIV     := $(shell command -v setpriv)
$(BUILD)/%: SHELL := $(SETPRIV)
$(BUILD)/%: .SHELLFLAGS := $(wordlist 2,9,$(AS_OWNER)) /bin/sh -c
pybind/_wire.py: SHELL := $(SETPRIV)
pybind/_wire.py: .SHELLFLAGS := $(wordlist 2,9,$(AS_OWNER)) /bin/sh -c
endif

STARTS       = start.py startauthbind.py startctl.py startd.py
PARTS        = pybind-helper libpybind.so pybind authbind pybindctl pybindd pybindd.service paths.py $(STARTS)

all: $(addprefix $(BUILD)/,$(PARTS)) pybind/_wire.py $(BPF) ## build everything, below build/ (make alone does this)

# Paths are compiled in, so other paths need another build.
$(BUILD)/settings: FORCE
	@mkdir -p $(BUILD)
	@[ -w $(BUILD) ] || { echo "$(BUILD) is another user's: sudo rm -r $(abspath $(BUILD))" >&2; exit 1; }
	@case "$(PREFIX)$(SYSCONFDIR)" in *[\ :]*) \
	  echo "PREFIX and SYSCONFDIR must not contain a blank or a colon (ld.so(8))" >&2; exit 1;; esac
	@echo '$(PREFIX) $(SYSCONFDIR) $(PYTHON) $(HELPER_CC) $(CFLAGS)' | cmp -s - $@ || \
	  echo '$(PREFIX) $(SYSCONFDIR) $(PYTHON) $(HELPER_CC) $(CFLAGS)' >$@

$(BUILD)/pybind-helper: $(HELPER_SRC) $(HEADERS) $(BUILD)/settings
	$(HELPER_CC) $(HELPER_FLAGS) -o $@ $(HELPER_LINK)

$(BUILD)/libpybind.so: $(LIBRARY_SRC) $(HEADERS) $(BUILD)/settings
	$(CC) $(LIBRARY_FLAGS) -o $@ $(LIBRARY_SRC)

$(BUILD)/pybind.bpf.o: $(wildcard helpers/kernel/*) $(BUILD)/settings
	$(BPF_CLANG) $(BPF_FLAGS) -c -o $@ helpers/kernel/pybind.bpf.c

no-bpf:
	@[ -n "$(QUIET)" ] || { echo "all is built but pybindd's programs, which need clang and the headers of libbpf" >&2; \
	  echo "to build them too: sudo apt-get install clang libbpf-dev" >&2; }

$(BUILD)/pybind: helpers/starter.c $(BUILD)/settings
	$(HELPER_CC) $(STARTER_FLAGS) -DNAME='"pybind"' -DFAILED=125 -DSTART_PY='"$(SHARE)/start.py"' \
	  -o $@ helpers/starter.c

$(BUILD)/authbind: helpers/starter.c $(BUILD)/settings
	$(HELPER_CC) $(STARTER_FLAGS) -DNAME='"authbind"' -DFAILED=255 -DSTART_PY='"$(AUTHBIND_PY)"' \
	  -o $@ helpers/starter.c

$(BUILD)/pybindctl: $(BUILD)/settings
	printf '#!/bin/sh\nexec %s -I -X utf8 %s "$$@"\n' '$(PYTHON)' '$(SHARE)/startctl.py' >$@

$(BUILD)/pybindd: $(BUILD)/settings
	printf '#!/bin/sh\nexec %s -I -X utf8 %s "$$@"\n' '$(PYTHON)' '$(SHARE)/startd.py' >$@

# The Python file of each front end. The starters in C put their notes before the user's words.
$(BUILD)/start.py:         START = s|@COMMAND@|bin/pybind with -S|; s|@MODULE@|cli|
$(BUILD)/startauthbind.py: START = s|@COMMAND@|bin/authbind with -S|; s|@MODULE@|authbind|
$(BUILD)/startctl.py:      START = s|@COMMAND@|bin/pybindctl|; s|@MODULE@|admin.cli|
$(BUILD)/startd.py:        START = s|@COMMAND@|sbin/pybindd|; s|@MODULE@|kernel.daemon|
$(BUILD)/start.py $(BUILD)/startauthbind.py: ARGUMENTS = sys.argv[2:], notes=sys.argv[1]
$(BUILD)/startctl.py $(BUILD)/startd.py: ARGUMENTS = sys.argv[1:]
$(addprefix $(BUILD)/,$(STARTS)): tools/start.py.in $(BUILD)/settings
	sed -e '$(START); s|@ARGUMENTS@|$(ARGUMENTS)|' tools/start.py.in >$@

$(BUILD)/pybindd.service: contrib/pybindd/pybindd.service $(BUILD)/settings
	sed 's|@SBINDIR@|$(PREFIX)/sbin|' contrib/pybindd/pybindd.service >$@

$(BUILD)/paths.py: pybind/paths.py $(BUILD)/settings
	sed -e 's|^PREFIX = .*|PREFIX = "$(PREFIX)"|' -e 's|^CONFIG_DIR = .*|CONFIG_DIR = "$(CONFIG_DIR)"|' \
	  -e 's|^REINSTALL = .*|REINSTALL = "$(or $(REINSTALL),$(MAKE_AGAIN))"|' \
	  pybind/paths.py >$@

pybind/_wire.py: helpers/protocol.h tools/gen_wire.py
	$(PYTHON) tools/gen_wire.py >$@.new && mv $@.new $@

# The capability comes last, because chown(2) and strip(1) remove it. For a staged install (DESTDIR)
# the post-install step of the package sets the capability.
install: all ## install below PREFIX=/usr/local; DESTDIR= stages a package (root)
	@$(PYTHON) -I -c 'import click' || { echo "$(PYTHON) has no click: apt-get install python3-click" >&2; exit 1; }
	umask 022; $(INSTALL) -d $(addprefix $(DESTDIR),$(PREFIX)/bin $(PREFIX)/lib/pybind $(PREFIX)/libexec/pybind \
	  $(PREFIX)/sbin $(UNITDIR) $(addprefix $(SHARE)/,$(sort $(dir $(MODULES)))) \
	  $(MANDIR)/man1 $(MANDIR)/man5 $(MANDIR)/man7 $(MANDIR)/man8)
	$(INSTALL) -d -m 0755 $(foreach d,/ /byport /byaddr /byuser /bygroup,$(DESTDIR)$(CONFIG_DIR)$(d))
	@# Replaced in one step, so that running servers are not refused meanwhile. The old helper loses
	@# its capability, because somebody may keep a descriptor on it.
	$(INSTALL) -m 0755 $(BUILD)/pybind-helper $(DESTDIR)$(HELPER).new
ifeq ($(DESTDIR),)
	setcap cap_net_bind_service=p $(HELPER).new
endif
	[ ! -e $(DESTDIR)$(HELPER) ] || setcap -r $(DESTDIR)$(HELPER) 2>/dev/null || true
	mv -f $(DESTDIR)$(HELPER).new $(DESTDIR)$(HELPER)
	$(INSTALL) -m 0755 $(BUILD)/libpybind.so $(DESTDIR)$(LIBRARY)
	$(INSTALL) -m 0755 $(BUILD)/pybind $(DESTDIR)$(PREFIX)/bin/pybind
	$(INSTALL) -m 0644 $(BUILD)/start.py $(DESTDIR)$(SHARE)/start.py
	for name in $(MODULES); do $(INSTALL) -m 0644 $$name $(DESTDIR)$(SHARE)/$$name || exit 1; done
	@# Removes at once what this version does not have: an old folder would hide a module of its name.
	cd $(DESTDIR)$(SHARE) && find pybind -depth \( -name '*.py' -o -type d \) | while IFS= read -r name; do \
	  [ -f '$(CURDIR)'/"$$name" ] || [ -f '$(CURDIR)'/"$$name/__init__.py" ] || rm -rf "$$name"; done
	$(INSTALL) -m 0644 $(BUILD)/startctl.py $(DESTDIR)$(SHARE)/startctl.py
	$(INSTALL) -m 0755 $(BUILD)/pybindctl $(DESTDIR)$(PREFIX)/bin/pybindctl
	@# Earlier versions had pybindctl in sbin.
	if grep -qsF '$(SHARE)/startctl.py' $(DESTDIR)$(PREFIX)/sbin/pybindctl; then rm $(DESTDIR)$(PREFIX)/sbin/pybindctl; fi
	$(INSTALL) -m 0644 $(BUILD)/startd.py $(DESTDIR)$(SHARE)/startd.py
	$(INSTALL) -m 0755 $(BUILD)/pybindd $(DESTDIR)$(PREFIX)/sbin/pybindd
	rm -f $(DESTDIR)$(BPF_OBJECT) # an earlier version's, if this build has none
	$(if $(BPF_BUILDS),$(INSTALL) -m 0644 $(BUILD)/pybind.bpf.o $(DESTDIR)$(BPF_OBJECT))
	$(INSTALL) -m 0644 $(BUILD)/pybindd.service $(DESTDIR)$(UNITDIR)/
	$(INSTALL) -m 0644 $(BUILD)/paths.py $(DESTDIR)$(SHARE)/pybind/paths.py
	umask 022; $(PYTHON) -I -m compileall -q $(if $(DESTDIR),-s $(DESTDIR)) $(DESTDIR)$(SHARE)/pybind
	$(INSTALL) -m 0644 $(MAN1) $(DESTDIR)$(MANDIR)/man1/
	$(INSTALL) -m 0644 $(MAN5) $(DESTDIR)$(MANDIR)/man5/
	$(INSTALL) -m 0644 $(MAN7) $(DESTDIR)$(MANDIR)/man7/
	$(INSTALL) -m 0644 $(MAN8) $(DESTDIR)$(MANDIR)/man8/
	cd $(DESTDIR)$(MANDIR) && $(OWN_PATHS) $(patsubst man/%,man1/%,$(MAN1)) $(patsubst man/%,man5/%,$(MAN5)) \
	  $(patsubst man/%,man7/%,$(MAN7)) $(patsubst man/%,man8/%,$(MAN8))
	rm -rf $(DESTDIR)$(DOCDIR)
	for name in $(EXAMPLES); do mode=0644; [ ! -x examples/$$name ] || mode=0755; \
	  $(INSTALL) -D -m $$mode examples/$$name $(DESTDIR)$(DOCDIR)/examples/$$name || exit 1; \
	  $(OWN_PATHS) $(DESTDIR)$(DOCDIR)/examples/$$name; done
ifneq ($(DESTDIR),)
	@echo "staged: run 'setcap cap_net_bind_service=p $(HELPER)' after unpacking"
endif

# The command line of authbind(1), in addition to `install`. It never overwrites the real authbind:
# our command and its manual contain the word startauthbind.py.
install-authbind-compat: $(BUILD)/authbind $(BUILD)/startauthbind.py ## the command line of authbind(1) beside it (root)
	@[ -e $(DESTDIR)$(SHARE)/start.py ] || { \
	  if [ -e /usr/share/pybind/start.py ]; then \
	    echo "pybind is installed as a package, and its package pybind-ports-authbind has this command line:" >&2; \
	    echo "sudo apt install ./build/deb/pybind-ports-authbind_*.deb" >&2; \
	  else echo "pybind itself is not installed below $(PREFIX): sudo make install" >&2; fi; exit 1; }
	@for file in $(AUTHBIND) $(AUTHBIND_1); do \
	  if [ -e $$file ] && ! grep -qF startauthbind.py $$file; then \
	    echo "$$file is not pybind's, and is not overwritten: remove the package authbind, or choose another PREFIX" >&2; \
	    exit 1; fi; done
	$(INSTALL) -m 0644 $(BUILD)/startauthbind.py $(DESTDIR)$(AUTHBIND_PY)
	$(INSTALL) -m 0644 man/authbind.1 $(AUTHBIND_1)
	$(OWN_PATHS) $(AUTHBIND_1)
	$(INSTALL) -m 0755 $(BUILD)/authbind $(AUTHBIND)

# /etc/pybind belongs to the administrator, and stays unless it is empty.
uninstall: ## remove what install installed; grants in /etc/pybind stay (root)
	for file in $(AUTHBIND) $(AUTHBIND_1); do \
	  if grep -qsF startauthbind.py $$file; then rm -f $$file; fi; done
	[ ! -e $(DESTDIR)$(HELPER) ] || setcap -r $(DESTDIR)$(HELPER) || true
	rm -rf $(DESTDIR)$(SHARE) $(DESTDIR)$(DOCDIR) $(DESTDIR)$(PREFIX)/lib/pybind $(DESTDIR)$(PREFIX)/libexec/pybind
	rm -f $(DESTDIR)$(PREFIX)/bin/pybind $(DESTDIR)$(PREFIX)/bin/pybindctl $(DESTDIR)$(PREFIX)/sbin/pybindd \
	  $(DESTDIR)$(UNITDIR)/pybindd.service $(addprefix $(DESTDIR)$(MANDIR)/man1/,$(notdir $(MAN1))) \
	  $(addprefix $(DESTDIR)$(MANDIR)/man5/,$(notdir $(MAN5))) $(addprefix $(DESTDIR)$(MANDIR)/man7/,$(notdir $(MAN7))) \
	  $(addprefix $(DESTDIR)$(MANDIR)/man8/,$(notdir $(MAN8)))
	rm -f $(DESTDIR)$(CONFIG_DIR)/.pybindctl.lock
	rmdir $(addprefix $(DESTDIR)$(CONFIG_DIR)/,byport byaddr byuser bygroup) $(DESTDIR)$(CONFIG_DIR) 2>/dev/null || true

help: ## this list
	@sed -nE 's/^([a-z-]+):.* ## (.*)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 26

check: ## unit tests, ruff and mypy where they are: seconds, no root, no network
	@PYTHON=$(PYTHON) tools/check

# Installed here, because the sandbox has no network.
$(BUILD)/newest-click:
	$(PYTHON) -m venv $(BUILD)/pip
	$(BUILD)/pip/bin/pip -q install --target $@.new click && mv $@.new $@

# For tests/examples, which run services under OpenRC and runit.
$(BUILD)/init-systems: tools/unpack
	tools/unpack $@ openrc libeinfo1 'librc1t64|librc1' runit

demo: ## the demonstration, in a sandbox: two minutes (root)
	tools/need demo
	@$(MAKE) -s all
	@tools/sandbox tools/demo

# TESTS='-k name' and the like go to pytest.
test: ## all tests, in a sandbox; TESTS='-k name' for some (root)
	tools/need test
	$(MAKE) all $(BUILD)/init-systems
	tools/test $(TESTS)$(GIVE_BACK)

# The only test that needs more than the distribution.
test-newest-click: ## pybindctl with click from the package index (root)
	tools/need test
	$(MAKE) all $(BUILD)/newest-click
	tools/test --newest-click

test-empty: ## demo and test in an empty Debian 12 and 13: half an hour or more (root)
	tools/need empty
	tools/test-empty bookworm$(GIVE_BACK)
	tools/test-empty trixie$(GIVE_BACK)

# The tests with the mark `program`; docs/programs.md has the results.
test-programs: ## real programs; writes docs/programs.md anew (root)
	tools/need programs
	$(MAKE) all
	PYTHONPATH=tests/lib tools/sandbox $(PYTHON) -m pytest -p no:cacheprovider -p programtable \
	  -m program --programs-table docs/programs.md tests/programs tests/supervise tests/kernel tests/listen

# The tests that show a numbered case; docs/hostile.md has the results.
test-hostile: ## every attack; writes docs/hostile.md anew (root)
	tools/need test
	$(MAKE) all
	PYTHONPATH=tests/proof/hostile tools/sandbox $(PYTHON) -m pytest -p no:cacheprovider -p casetable \
	  --hostile-table docs/hostile.md tests

# BENCH has names of parts, such as 'launch bind', or options of bench/__main__.py.
bench: ## the figures of speed; BENCH='launch' for some (root)
	tools/need bench
	$(MAKE) all
	tools/sandbox $(PYTHON) -m bench $(BENCH)$(GIVE_BACK)

deb: ## the Debian packages, into build/deb
	tools/need deb
	$(AS_OWNER) tools/package deb $(BUILD)/deb
	@ls $(BUILD)/deb/*.deb

rpm: ## the RPM package, into build/rpm
	tools/need rpm
	$(AS_OWNER) tools/package rpm $(BUILD)/rpm

test-deb: ## the life of the Debian package in fresh systems of two releases (root)
	tools/need test-deb
	tools/test-deb$(GIVE_BACK)

# Runs the virtual machines of docs/systems.md one after the other. RECORD=1 writes its tables again.
# SYSTEMS='trixie' and JOBS='life units' choose. Without JOBS three jobs run; JOBS=all runs every job,
# for hours. The disks stay in PYBIND_SYSTEMS_CACHE (/var/cache/pybind-systems).
test-systems: ## real systems in virtual machines (root)
	tools/need systems
	$(if $(findstring -,$(SYSTEMS)),tools/need foreign)
	PYTHONPATH=tests $(PYTHON) -B -m systems $(if $(SYSTEMS),--systems '$(SYSTEMS)') \
	  $(if $(JOBS),--jobs '$(JOBS)') $(if $(RECORD),--record)

# CI runs the short form.
prove: ## the figures of docs/proof.md again: about an hour (root)
	tools/need prove
	$(MAKE) all
	tools/prove long $(STAGES)$(GIVE_BACK)

prove-short: ## the short form of prove: some minutes (root)
	tools/need test
	$(MAKE) all
	tools/prove short $(STAGES)$(GIVE_BACK)

lint: ## ruff, mypy, shellcheck, mandoc; pip fetches the first two
	tools/need lint
	$(AS_OWNER) tools/check lint

clean: ## remove build/
	rm -rf $(BUILD)

FORCE:
.PHONY: all help check no-bpf install install-authbind-compat uninstall demo test test-newest-click test-empty prove prove-short test-programs test-hostile test-systems \
        bench deb rpm test-deb lint clean FORCE
