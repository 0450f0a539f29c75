// Signatures of the Unity API that the package uses, written by hand from Unity's scripting reference (those that 2022.3
// and Unity 6 share), with no behaviour: the package's assemblies are type-checked against them where there is no Unity.
using System;
using System.Collections.Generic;
using UnityEngine.SceneManagement;

namespace UnityEngine
{
    [Flags] public enum HideFlags { None = 0, HideAndDontSave = 61 }
    public class Object
    {
        public string name { get; set; }
        public HideFlags hideFlags { get; set; }
        public static void Destroy(Object obj) { }
        public static void DestroyImmediate(Object obj) { }
        public static T Instantiate<T>(T original) where T : Object => original;
    }
    public class ScriptableObject : Object { public static T CreateInstance<T>() where T : ScriptableObject => null; }
    public class Component : Object
    {
        public GameObject gameObject => null;
        public Transform transform => null;
        public T GetComponent<T>() => default(T);
        public T GetComponentInParent<T>() => default(T);
        public T GetComponentInChildren<T>() => default(T);
    }
    public class Behaviour : Component { }
    public class MonoBehaviour : Behaviour { }
    public sealed class GameObject : Object
    {
        public GameObject(string name) { }
        public int layer { get; set; }
        public Scene scene => default(Scene);
        public Transform transform => null;
        public T AddComponent<T>() where T : Component => null;
        public T GetComponent<T>() => default(T);
    }
    public class Transform : Component
    {
        public Vector3 position { get; set; }
        public Vector3 forward { get; set; }
        public Vector3 right { get; set; }
        public Quaternion rotation { get; set; }
        public Matrix4x4 localToWorldMatrix => default(Matrix4x4);
        public Matrix4x4 worldToLocalMatrix => default(Matrix4x4);
        public Vector3 lossyScale => default(Vector3);
        public void SetParent(Transform parent, bool worldPositionStays) { }
        public void SetPositionAndRotation(Vector3 position, Quaternion rotation) { }
    }
    public struct Vector2
    {
        public float x, y;
        public Vector2(float x, float y) { this.x = x; this.y = y; }
        public static implicit operator Vector4(Vector2 v) => default(Vector4);
    }
    public struct Vector3
    {
        public float x, y, z;
        public Vector3(float x, float y, float z) { this.x = x; this.y = y; this.z = z; }
        public float magnitude => 0;
        public Vector3 normalized => this;
        public static Vector3 one => default(Vector3);
        public static Vector3 up => default(Vector3);
        public static Vector3 ProjectOnPlane(Vector3 vector, Vector3 planeNormal) => vector;
        public static Vector3 operator *(float d, Vector3 a) => a;
        public static Vector3 operator +(Vector3 a, Vector3 b) => b;
        public static Vector3 operator -(Vector3 a, Vector3 b) => b;
        public static Vector3 operator -(Vector3 a) => a;
    }
    public struct Vector4
    {
        public float x, y, z, w;
        public Vector4(float x, float y, float z, float w) { this.x = x; this.y = y; this.z = z; this.w = w; }
        public static Vector4 one => default(Vector4);
        public static implicit operator Vector3(Vector4 v) => default(Vector3);
    }
    public struct Color { public static Color clear => default(Color); }
    public struct Quaternion { public static Quaternion LookRotation(Vector3 forward) => default(Quaternion); }
    public struct Pose { }
    public struct Plane { }
    public struct Matrix4x4
    {
        public float this[int row, int column] { get => 0; set { } }
        public static Matrix4x4 identity => default(Matrix4x4);
        public Quaternion rotation => default(Quaternion);
        public Vector3 lossyScale => default(Vector3);
        public Vector4 GetColumn(int index) => default(Vector4);
        public Vector3 MultiplyPoint3x4(Vector3 point) => point;
        public static Matrix4x4 operator *(Matrix4x4 lhs, Matrix4x4 rhs) => lhs;
    }
    public struct Bounds
    {
        public Bounds(Vector3 center, Vector3 size) { }
        public Vector3 center { get => default(Vector3); set { } }
        public Vector3 extents { get => default(Vector3); set { } }
        public void Encapsulate(Bounds bounds) { }
        public void Expand(float amount) { }
    }
    public static class GeometryUtility
    {
        public static void CalculateFrustumPlanes(Camera camera, Plane[] planes) { }
        public static bool TestPlanesAABB(Plane[] planes, Bounds bounds) => true;
    }
    public enum CameraType { Game = 1, SceneView = 2, Preview = 4, VR = 8, Reflection = 16 }
    public class Camera : Behaviour
    {
        public delegate void CameraCallback(Camera cam);
        public static CameraCallback onPreCull;
        public static Camera main => null;
        public CameraType cameraType { get; set; }
        public Scene scene { get; set; }
        public bool orthographic { get; set; }
        public bool stereoEnabled => false;
        public int cullingMask { get; set; }
        public int pixelWidth => 0;
        public int pixelHeight => 0;
        public float nearClipPlane { get; set; }
        public float farClipPlane { get; set; }
        public Matrix4x4 projectionMatrix { get; set; }
        public Matrix4x4 worldToCameraMatrix { get; set; }
    }
    public class Shader : Object { public static int PropertyToID(string name) => 0; }
    public class Material : Object { public Material(Shader shader) { } }
    public class Texture : Object { public virtual int width { get; set; } public virtual int height { get; set; } }
    public enum RenderTextureFormat { ARGBHalf = 2, RHalf = 15 }
    public enum RenderTextureReadWrite { Default = 0, Linear = 1, sRGB = 2 }
    public class RenderTexture : Texture
    {
        public RenderTexture(int width, int height, int depth, RenderTextureFormat format, RenderTextureReadWrite readWrite) { }
        public static RenderTexture active { get; set; }
    }
    public sealed class MaterialPropertyBlock
    {
        public void SetBuffer(int nameID, GraphicsBuffer value) { }
        public void SetVector(int nameID, Vector4 value) { }
        public void SetFloat(int nameID, float value) { }
        public void SetTexture(int nameID, Texture value) { }
    }
    public sealed class ComputeShader : Object
    {
        public int FindKernel(string name) => 0;
        public void SetInt(int nameID, int val) { }
        public void SetInts(int nameID, params int[] values) { }
        public void SetFloat(int nameID, float val) { }
        public void SetVector(int nameID, Vector4 val) { }
        public void SetVectorArray(int nameID, Vector4[] values) { }
        public void SetBuffer(int kernelIndex, int nameID, GraphicsBuffer buffer) { }
        public void Dispatch(int kernelIndex, int threadGroupsX, int threadGroupsY, int threadGroupsZ) { }
    }
    public sealed class GraphicsBuffer : IDisposable
    {
        [Flags] public enum Target { Structured = 16 }
        public GraphicsBuffer(Target target, int count, int stride) { }
        public int count => 0;
        public void SetData(Array data) { }
        public void SetData(Array data, int managedBufferStartIndex, int graphicsBufferStartIndex, int count) { }
        public void Dispose() { }
    }
    public enum MeshTopology { Triangles = 0 }
    public struct RenderParams
    {
        public RenderParams(Material mat) : this() { }
        public Camera camera { get; set; }
        public int layer { get; set; }
        public MaterialPropertyBlock matProps { get; set; }
        public Bounds worldBounds { get; set; }
    }
    public static class Graphics
    {
        public static void RenderPrimitives(in RenderParams rparams, MeshTopology topology, int vertexCount, int instanceCount = 1) { }
        public static void ExecuteCommandBuffer(Rendering.CommandBuffer buffer) { }
    }
    public enum ColorSpace { Uninitialized = -1, Gamma = 0, Linear = 1 }
    public static class QualitySettings { public static ColorSpace activeColorSpace => ColorSpace.Linear; }
    public static class Resources { public static T Load<T>(string path) where T : Object => null; }
    public static class SystemInfo { public static bool supportsComputeShaders => true; }
    public static class Application { public static bool isPlaying => true; }
    public static class Time
    {
        public static float deltaTime => 0;
        public static int frameCount => 0;
        public static int renderedFrameCount => 0;
    }
    public static class Debug
    {
        public static void LogError(object message) { }
        public static void LogError(object message, Object context) { }
        public static void LogWarning(object message, Object context) { }
    }
    public struct Mathf
    {
        public static float Max(float a, float b) => a;
        public static float Min(float a, float b) => a;
        public static int Min(int a, int b) => a;
        public static float Abs(float f) => f;
        public static int Clamp(int value, int min, int max) => value;
        public static float Clamp(float value, float min, float max) => value;
        public static int RoundToInt(float f) => 0;
    }
    public class Animator : Behaviour { }
    public struct AnimatorStateInfo { }
    public abstract class StateMachineBehaviour : ScriptableObject
    {
        public virtual void OnStateEnter(Animator animator, AnimatorStateInfo stateInfo, int layerIndex) { }
    }
    public class GUILayoutOption { }
    public class GUILayout
    {
        public static bool Toggle(bool value, string text, params GUILayoutOption[] options) => value;
        public static float HorizontalSlider(float value, float leftValue, float rightValue, params GUILayoutOption[] options) => value;
        public static GUILayoutOption Width(float width) => null;
    }
    public class SerializeField : Attribute { }
    public class HideInInspector : Attribute { }
    public class TooltipAttribute : Attribute { public TooltipAttribute(string tooltip) { } }
    public class RangeAttribute : Attribute { public RangeAttribute(float min, float max) { } }
    public class ExecuteAlways : Attribute { }
    public class AddComponentMenu : Attribute { public AddComponentMenu(string menuName) { } }
    public class PreferBinarySerialization : Attribute { }
    public class DefaultExecutionOrder : Attribute { public DefaultExecutionOrder(int order) { } }
    public class RequireComponent : Attribute { public RequireComponent(Type requiredComponent, Type requiredComponent2) { } }
}

namespace UnityEngine.Animations
{
    [AttributeUsage(AttributeTargets.Field)] public class DiscreteEvaluationAttribute : Attribute { }
}

namespace UnityEngine.SceneManagement
{
    public struct Scene
    {
        public bool IsValid() => true;
        public static bool operator ==(Scene lhs, Scene rhs) => true;
        public static bool operator !=(Scene lhs, Scene rhs) => false;
        public override bool Equals(object other) => true;
        public override int GetHashCode() => 0;
    }
}

namespace UnityEngine.Rendering
{
    public struct ScriptableRenderContext { }
    public static class RenderPipelineManager
    {
        public static event Action<ScriptableRenderContext, Camera> beginCameraRendering { add { } remove { } }
    }
    public struct RenderTargetIdentifier { public RenderTargetIdentifier(Texture tex) { } }
    public class CommandBuffer : IDisposable
    {
        public string name { get; set; }
        public void Clear() { }
        public void SetRenderTarget(RenderTargetIdentifier[] colors, RenderTargetIdentifier depth) { }
        public void ClearRenderTarget(bool clearDepth, bool clearColor, Color backgroundColor) { }
        public void DrawProcedural(Matrix4x4 matrix, Material material, int shaderPass, MeshTopology topology, int vertexCount,
                                   int instanceCount, MaterialPropertyBlock properties) { }
        public void Dispose() { }
    }
}

namespace UnityEngine.Playables
{
    public interface IPlayableBehaviour { }
    public abstract class PlayableBehaviour : IPlayableBehaviour
    {
        public virtual void OnPlayableDestroy(Playable playable) { }
        public virtual void ProcessFrame(Playable playable, FrameData info, object playerData) { }
    }
    public struct FrameData { public float weight => 0; }
    public struct PlayableGraph { }
    public interface IPlayable { }
    public struct Playable : IPlayable { }
    public struct ScriptPlayable<T> : IPlayable where T : class, IPlayableBehaviour, new()
    {
        public static ScriptPlayable<T> Create(PlayableGraph graph, int inputCount = 0) => default(ScriptPlayable<T>);
        public T GetBehaviour() => null;
        public static implicit operator Playable(ScriptPlayable<T> playable) => default(Playable);
        public static explicit operator ScriptPlayable<T>(Playable playable) => default(ScriptPlayable<T>);
    }
    public static class PlayableExtensions
    {
        public static double GetTime<U>(this U playable) where U : struct, IPlayable => 0;
        public static int GetInputCount<U>(this U playable) where U : struct, IPlayable => 0;
        public static Playable GetInput<U>(this U playable, int inputPort) where U : struct, IPlayable => default(Playable);
        public static float GetInputWeight<U>(this U playable, int inputIndex) where U : struct, IPlayable => 0;
    }
    public interface IPlayableAsset { double duration { get; } }
    public abstract class PlayableAsset : ScriptableObject, IPlayableAsset
    {
        public abstract Playable CreatePlayable(PlayableGraph graph, GameObject owner);
        public virtual double duration => 0;
    }
    public enum DirectorWrapMode { Hold, Loop, None }
    public class PlayableDirector : Behaviour
    {
        public PlayableAsset playableAsset { get; set; }
        public DirectorWrapMode extrapolationMode { get; set; }
        public Object GetGenericBinding(Object key) => null;
        public void SetGenericBinding(Object key, Object value) { }
    }
}

namespace UnityEditor
{
    using UnityEngine;

    public sealed class MenuCommand { public Object context; }
    public sealed class MenuItem : Attribute { public MenuItem(string itemName) { } }
    public sealed class Undo
    {
        public static void RegisterCreatedObjectUndo(Object objectToUndo, string name) { }
        public static void RecordObject(Object objectToUndo, string name) { }
        public static T AddComponent<T>(GameObject gameObject) where T : Component => null;
    }
    public enum MessageType { None, Info, Warning, Error }
    public sealed class SerializedProperty
    {
        public int intValue { get; set; }
        public bool hasMultipleDifferentValues => false;
    }
    public class SerializedObject
    {
        public void Update() { }
        public bool ApplyModifiedProperties() => false;
        public SerializedProperty FindProperty(string propertyPath) => null;
    }
    public class Editor : ScriptableObject
    {
        public Object target { get; set; }
        public SerializedObject serializedObject => null;
        public virtual void OnInspectorGUI() { }
        protected internal static void DrawPropertiesExcluding(SerializedObject obj, params string[] propertyToExclude) { }
    }
    public sealed class CustomEditor : Attribute { public CustomEditor(Type inspectedType) { } }
    public sealed class CanEditMultipleObjects : Attribute { }
    public sealed class EditorGUILayout
    {
        public static int Popup(string label, int selectedIndex, string[] displayedOptions, params GUILayoutOption[] options) => 0;
        public static void HelpBox(string message, MessageType type) { }
    }
    public static class EditorUtility { public static void SetDirty(Object target) { } }
    public static class Selection { public static GameObject activeGameObject { get; set; } }
    public static class AssetDatabase
    {
        public static void CreateAsset(Object asset, string path) { }
        public static string GenerateUniqueAssetPath(string path) => path;
        public static void SaveAssets() { }
    }
}

namespace UnityEditor.AssetImporters
{
    using UnityEngine;

    public class ScriptedImporterAttribute : Attribute { public ScriptedImporterAttribute(int version, string ext) { } }
    public abstract class ScriptedImporter : Object { public abstract void OnImportAsset(AssetImportContext ctx); }
    public class AssetImportContext
    {
        public string assetPath => "";
        public void LogImportError(string msg, Object obj = null) { }
        public void AddObjectToAsset(string identifier, Object obj) { }
        public void SetMainObject(Object obj) { }
    }
}
