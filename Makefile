# make                  three programs in dist/bin
# make ARCH=arm64       the same for arm64 in dist/arm64/bin
# make install          PREFIX=/usr/local DESTDIR=
# make demo             a container through daemon, shim and runtime (needs root)
# make test             everything that can be checked here; make lint, make fmt, make types: parts of it
# make critest          the conformance suite of the CRI's tools over our daemon; ARGS='--focus REGEXP --verbose'
# make test-podman      Podman over our runtime, for some minutes
# make bench            measurements beside runc, crun and containerd
# make soak             SECONDS=600 WORKERS=8: containers in a loop, and that nothing is left of them
# make soak-pods        PODS=110 PROBED=50 SECONDS=300: a full node of pods, then probes in some of them; nothing is left
# make soak-twins      PAIRS=300 SEED=…: random bundles under runc and tsrunc, which must make the same containers of them
# make soak-ooms        OOMS=1000: containers that run out of memory at once, and that each is told as such
# make soak-shims       SHIMS=100: so many dead and so many live shims, and how long a daemon takes to list their pods
# make soak-log         the daemon killed twenty times under a container that logs 10 MB a second
# make soak-events      OPERATIONS=2000: random requests, and a model of events held against the lists
# make soak-daemon      KILLS=150: the daemon killed at random moments of its work, its data checked after each
# make clean            removes what was built (not node_modules)

PREFIX ?= /usr/local
DESTDIR ?=
KILLS ?= 150
OOMS ?= 1000
SHIMS ?= 100
OPERATIONS ?= 2000
host := $(patsubst aarch64,arm64,$(patsubst x86_64,x64,$(shell uname -m)))
ARCH ?= $(host)
arch := $(patsubst aarch64,arm64,$(patsubst x86_64,x64,$(patsubst amd64,x64,$(ARCH))))
dist := $(if $(filter $(host),$(arch)),dist,dist/$(arch))

programs := tscontainerd containerd-shim-tsrunc-v2 tsrunc
binaries := $(programs:%=$(dist)/bin/%)
# The Node that builds, tests and is the base of the programs. The one on PATH only runs npm.
node := node_modules/node-linux-$(host)/bin/node
packages := node_modules/.package-lock.json
generated := internal/api/generated/.stamp

.PHONY: all install demo test critest test-podman test-vm lint fmt types bench soak soak-pods soak-twins soak-ooms soak-shims soak-log soak-events soak-daemon clean generate
.DELETE_ON_ERROR:

all: $(binaries) $(dist)/LICENSES.txt

# npm writes its own lock file into node_modules when all is installed; it is the stamp.
$(packages): package-lock.json
	npm ci
	@touch $@

generate: $(generated)
$(generated): $(packages) $(wildcard build/proto*.ts) $(shell find internal/api/proto ttrpc/proto -name '*.proto' 2>/dev/null)
	$(node) build/proto.ts
	@touch $@

# Which sources a program consists of is known after its first build: esbuild says it, binary.ts writes it down.
-include $(programs:%=$(dist)/deps/%.d)
$(binaries): $(dist)/bin/%: cmd/%/main.ts $(packages) $(generated) $(filter-out %.test.ts build/proto% build/licences.ts,$(wildcard build/*.ts build/*.json))
	$(node) build/binary.ts $* --arch $(arch)

$(dist)/LICENSES.txt: $(packages) build/licences.ts
	$(node) build/licences.ts $@

# What a shell evaluates to complete command lines of tsctr.
completion = $(node) --input-type=module -e 'import { COMPLETION_SCRIPTS } from "./internal/client/completion-scripts.ts"; process.stdout.write(COMPLETION_SCRIPTS.$(1))'

# tsrunc is copied by one write, as the build leaves it (build/sea.ts): the kernel keeps it in larger pages, and each start has
# fewer faults.
install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(binaries) $(DESTDIR)$(PREFIX)/bin
	dd if=$(dist)/bin/tsrunc of=$(DESTDIR)$(PREFIX)/bin/.tsrunc.new bs=256M status=none
	chmod 755 $(DESTDIR)$(PREFIX)/bin/.tsrunc.new
	mv $(DESTDIR)$(PREFIX)/bin/.tsrunc.new $(DESTDIR)$(PREFIX)/bin/tsrunc
	ln -sf tscontainerd $(DESTDIR)$(PREFIX)/bin/tsctr
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	$(call completion,bash) > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/tsctr
	$(call completion,zsh) > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_tsctr
	$(call completion,fish) > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/tsctr.fish
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@BINDIR@|$(PREFIX)/bin|' build/systemd/tscontainerd.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/tscontainerd.service
	install -d $(DESTDIR)$(PREFIX)/share/doc/tscontainerd
	install -m 644 LICENSE $(dist)/LICENSES.txt $(DESTDIR)$(PREFIX)/share/doc/tscontainerd

# What is missing is said before anything is installed or built.
demo:
	@test "$$(id -u)" = 0 || { echo 'Namespaces, mounts and cgroups need root here: run it as "sudo make demo".' >&2; exit 1; }
	@$(MAKE) --silent $(packages) $(generated)
	@$(node) test/demo/main.ts --check
	@$(MAKE) --silent all
	@$(node) test/demo/main.ts

test: all
	$(node) test/run.ts

critest: all
	@$(node) test/peers/install.ts
	$(node) test/conformance/critest/main.ts $(ARGS)

test-podman: all
	TEST_PODMAN=1 $(node) test/run.ts runtime-podman

test-vm: all
	$(node) test/vm/run.ts $(VM_ARGS)

bench: all
	$(node) test/bench/main.ts

soak: all
	SECONDS=$(SECONDS) WORKERS=$(WORKERS) SEED=$(SEED) $(node) test/soak/main.ts

soak-pods: all
	PODS=$(PODS) PROBED=$(PROBED) SECONDS=$(SECONDS) TEST_DAEMON_PROGRAM=$(CURDIR)/$(dist)/bin/tscontainerd \
		$(node) test/soak/pods.ts

soak-twins: all
	PAIRS=$(PAIRS) SEED=$(SEED) $(node) test/soak/twins.ts

soak-ooms: all
	OOMS=$(OOMS) TEST_DAEMON_PROGRAM=$(CURDIR)/$(dist)/bin/tscontainerd $(node) test/soak/ooms.ts

soak-shims: all
	SHIMS=$(SHIMS) TEST_DAEMON_PROGRAM=$(CURDIR)/$(dist)/bin/tscontainerd $(node) test/soak/shims.ts

soak-log: all
	KILLS=20 TEST_DAEMON_PROGRAM=$(CURDIR)/$(dist)/bin/tscontainerd $(node) --test test/faults/shim-log-daemon.test.ts

soak-events: all
	OPERATIONS=$(OPERATIONS) SEED=$(SEED) TEST_DAEMON_PROGRAM=$(CURDIR)/$(dist)/bin/tscontainerd \
		$(node) --test test/integration/cri-events-model.test.ts

soak-daemon: all
	SOAK_KILLS=$(KILLS) TEST_DAEMON_PROGRAM=$(CURDIR)/$(dist)/bin/tscontainerd \
		$(node) --test --test-concurrency=1 test/faults/daemon-kill.test.ts test/faults/pull-killed-daemon.test.ts

lint: $(packages) $(generated)
	node_modules/.bin/biome check

fmt: $(packages)
	node_modules/.bin/biome check --write

types: $(packages) $(generated)
	node_modules/.bin/tsc -p .

clean:
	rm -rf dist internal/api/generated
