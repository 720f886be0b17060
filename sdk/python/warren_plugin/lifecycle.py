"""A plugin's life: it starts once, is configured, and stops once, whoever asks for it."""

import threading
import traceback

from .json_rpc import INTERNAL_ERROR, RpcError, log


class Lifecycle:
    def __init__(self, plugin):
        self._plugin = plugin
        self._start_lock = threading.Lock()
        self._stop_lock = threading.Lock()
        self._stopped = False
        self._state = "new"

    @property
    def failed(self):
        """Whether `start` failed."""
        return self._state == "failed"

    def stop(self):
        """Runs `stop`, the first time, and only if `start` has succeeded."""
        with self._stop_lock:
            if self._state != "started" or self._stopped:
                return
            self._stopped = True
            if self._plugin._hooks["stop"] is not None:
                self._plugin._hooks["stop"]()

    def start(self):
        """Runs `start`, the first time, whoever asks first."""
        with self._start_lock:
            if self._state == "failed":
                raise RpcError(INTERNAL_ERROR, "the plugin did not start")
            if self._state == "started":
                return
            try:
                if self._plugin._hooks["start"] is not None:
                    self._plugin._hooks["start"]()
                self._state = "started"
            except Exception:
                self._state = "failed"
                log("the plugin did not start:\n" + traceback.format_exc())
                raise

    def _configure(self, config):
        if not isinstance(config, dict):
            return
        changed = self._plugin._hooks["config_changed"]
        if self._state == "started" and changed is not None:
            changed(config)
        self._plugin.config = config

    def host_handlers(self):
        hooks = self._plugin._hooks

        def start(params):
            self._configure(params.get("config"))
            self.start()

        def restore(params):
            if hooks["restore_state"] is not None:
                hooks["restore_state"](params.get("state"))

        return {
            "plugin/start": start,
            "plugin/stop": lambda _: self.stop(),
            "plugin/health": lambda _: hooks["health"]() if hooks["health"] else {"status": "healthy"},
            "plugin/config": lambda params: self._configure(params.get("config")),
            "plugin/saveState": lambda _: {"state": hooks["save_state"]() if hooks["save_state"] else None},
            "plugin/restoreState": restore,
        }
