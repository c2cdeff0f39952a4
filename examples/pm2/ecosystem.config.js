// A Node server under pm2 as an ordinary user, on a port granted to that user.
//
// The administrator grants:  sudo pybindctl grant alice 80
// The user starts it:        pm2 start ecosystem.config.js
//
// pybind stands where pm2 expects an interpreter, and replaces itself with node:
// the process that pm2 signals and restarts is the server. Not for pm2's cluster
// mode, in which the daemon binds: start pm2 itself with pybind then, and kill
// the daemon that runs already (pybind --port 80 -- pm2 start app.js -i 2).
module.exports = {
  apps: [
    {
      name: "app",
      script: "/srv/app/app.js",
      exec_mode: "fork",
      interpreter: "/usr/local/bin/pybind",
      interpreter_args: "--port 80 -- node",
      // pybind refuses at once and prints why (pm2 logs app): not for ever again.
      max_restarts: 5,
      min_uptime: 1000, // milliseconds
    },
  ],
};
