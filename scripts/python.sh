# Sourced by the checks that hold kiln against Python's tools: an environment of their own, with these packages.
python_with() {
    if [ ! -x target/python/bin/python ]; then
        python3 -m venv target/python || { apt-get install -y -qq python3-venv >/dev/null && python3 -m venv target/python; }
    fi
    target/python/bin/pip install --quiet --disable-pip-version-check "$@"
}
