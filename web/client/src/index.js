export { Fanmesh } from "./mesh.js";
export { FanmeshError } from "./error.js";
export { backoffMs } from "./urls.js";
