// Signatures of the Unity API that the package uses, written by hand from Unity's scripting reference (those that 2022.3
// and Unity 6 share): the package's assemblies are type-checked against them where there is no Unity. What Play.cs runs
// has as much behaviour as it looks at: transforms, and counts of what was made, freed and drawn.
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
        public static void Destroy(Object obj) => Fake.Objects -= obj is RenderTexture || obj is Material ? 1 : 0;
        public static void DestroyImmediate(Object obj) => Destroy(obj);
        public static T Instantiate<T>(T original) where T : Object => original;
    }
    /// <summary>What Play.cs sets and looks at; no part of Unity.</summary>
    public static class Fake
    {
        public static int Buffers, Objects, Primitives, Dispatches, Executed;
        /// <summary>Of the material's properties, and of the camera's numbers.</summary>
        public static float Serial, NewestSerial;
        public static float DeltaTime;
        public static int Frame;
        public static bool Playing = true, InView = true;
        public static ColorSpace Space = ColorSpace.Linear;
    }
    public class ScriptableObject : Object
    {
        public static T CreateInstance<T>() where T : ScriptableObject => Activator.CreateInstance<T>();
    }
    public class Component : Object
    {
        public GameObject gameObject { get; internal set; }
        public Transform transform => gameObject.transform;
        public T GetComponent<T>() => default(T);
        public T GetComponentInParent<T>() => default(T);
        public T GetComponentInChildren<T>() => default(T);
    }
    public class Behaviour : Component { }
    public class MonoBehaviour : Behaviour { }
    public sealed class GameObject : Object
    {
        public GameObject(string name) { transform = new Transform { gameObject = this }; }
        public int layer { get; set; }
        public Scene scene => new Scene { handle = 1 };
        public Transform transform { get; }
        public T AddComponent<T>() where T : Component
        {
            T component = Activator.CreateInstance<T>();
            component.gameObject = this;
            return component;
        }
        public T GetComponent<T>() => default(T);
    }
    public class Transform : Component
    {
        public Vector3 position { get; set; }
        public Vector3 forward { get; set; }
        public Vector3 right { get; set; }
        public Quaternion rotation { get; set; }
        public Matrix4x4 localToWorldMatrix => Matrix4x4.identity;
        public Matrix4x4 worldToLocalMatrix => Matrix4x4.identity;
        public Vector3 lossyScale => default(Vector3);
        public void SetParent(Transform parent, bool worldPositionStays) { }
        public void SetPositionAndRotation(Vector3 position, Quaternion rotation) => this.position = position;
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
        public static Vector3 one => new Vector3(1, 1, 1);
        public static Vector3 up => default(Vector3);
        public static Vector3 ProjectOnPlane(Vector3 vector, Vector3 planeNormal) => vector;
        public static Vector3 operator *(float d, Vector3 a) => new Vector3(d * a.x, d * a.y, d * a.z);
        public static Vector3 operator +(Vector3 a, Vector3 b) => b;
        public static Vector3 operator -(Vector3 a, Vector3 b) => b;
        public static Vector3 operator -(Vector3 a) => a;
    }
    public struct Vector4
    {
        public float x, y, z, w;
        public Vector4(float x, float y, float z, float w) { this.x = x; this.y = y; this.z = z; this.w = w; }
        public static Vector4 one => default(Vector4);
        public static implicit operator Vector3(Vector4 v) => new Vector3(v.x, v.y, v.z);
    }
    public struct Color { public static Color clear => default(Color); }
    public struct Quaternion { public static Quaternion LookRotation(Vector3 forward) => default(Quaternion); }
    public struct Pose { }
    public struct Plane { }
    public struct Matrix4x4
    {
        Vector4 row0, row1, row2, row3;
        Vector4 this[int row] => row == 0 ? row0 : row == 1 ? row1 : row == 2 ? row2 : row3;
        public float this[int row, int column]
        {
            get => column == 0 ? this[row].x : column == 1 ? this[row].y : column == 2 ? this[row].z : this[row].w;
            set
            {
                Vector4 changed = this[row];
                if (column == 0) changed.x = value;
                else if (column == 1) changed.y = value;
                else if (column == 2) changed.z = value;
                else changed.w = value;
                if (row == 0) row0 = changed;
                else if (row == 1) row1 = changed;
                else if (row == 2) row2 = changed;
                else row3 = changed;
            }
        }
        public static Matrix4x4 identity
        {
            get
            {
                var made = default(Matrix4x4);
                for (int i = 0; i < 4; i++) made[i, i] = 1;
                return made;
            }
        }
        public Quaternion rotation => default(Quaternion);
        public Vector3 lossyScale => Vector3.one;
        public Vector4 GetColumn(int index) => new Vector4(this[0, index], this[1, index], this[2, index], this[3, index]);
        public Vector3 MultiplyPoint3x4(Vector3 point) => new Vector3(Row(0, point), Row(1, point), Row(2, point));
        float Row(int r, Vector3 p) => this[r, 0] * p.x + this[r, 1] * p.y + this[r, 2] * p.z + this[r, 3];
        public static Matrix4x4 operator *(Matrix4x4 lhs, Matrix4x4 rhs)
        {
            var product = default(Matrix4x4);
            for (int i = 0; i < 64; i++) product[i / 16, i / 4 % 4] += lhs[i / 16, i % 4] * rhs[i % 4, i / 4 % 4];
            return product;
        }
    }
    public struct Bounds
    {
        public Bounds(Vector3 center, Vector3 size) : this()
        {
            this.center = center;
            extents = 0.5f * size;
        }
        public Vector3 center { get; set; }
        public Vector3 extents { get; set; }
        public void Encapsulate(Bounds bounds) { }
        public void Expand(float amount) { }
    }
    public static class GeometryUtility
    {
        public static void CalculateFrustumPlanes(Camera camera, Plane[] planes) { }
        public static bool TestPlanesAABB(Plane[] planes, Bounds bounds) => Fake.InView;
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
        public int pixelWidth => 64;
        public int pixelHeight => 48;
        public float nearClipPlane { get; set; }
        public float farClipPlane { get; set; }
        public Matrix4x4 projectionMatrix { get; set; }
        public Matrix4x4 worldToCameraMatrix { get; set; }
    }
    public class Shader : Object { public static int PropertyToID(string name) => 0; }
    public class Material : Object { public Material(Shader shader) { Fake.Objects++; } }
    public class Texture : Object { public virtual int width { get; set; } public virtual int height { get; set; } }
    public enum RenderTextureFormat { ARGBHalf = 2, RHalf = 15 }
    public enum RenderTextureReadWrite { Default = 0, Linear = 1, sRGB = 2 }
    public class RenderTexture : Texture
    {
        public RenderTexture(int width, int height, int depth, RenderTextureFormat format, RenderTextureReadWrite readWrite)
        {
            Fake.Objects++;
            this.width = width;
            this.height = height;
        }
        public static RenderTexture active { get; set; }
    }
    public sealed class MaterialPropertyBlock
    {
        public void SetBuffer(int nameID, GraphicsBuffer value) { }
        public void SetVector(int nameID, Vector4 value) { }
        public void SetFloat(int nameID, float value) => Fake.Serial = value;
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
        public void Dispatch(int kernelIndex, int threadGroupsX, int threadGroupsY, int threadGroupsZ) => Fake.Dispatches++;
    }
    public sealed class GraphicsBuffer : IDisposable
    {
        [Flags] public enum Target { Structured = 16 }
        public GraphicsBuffer(Target target, int count, int stride)
        {
            if (count < 1 || stride < 4) throw new ArgumentException("an empty buffer");
            Fake.Buffers++;
            this.count = count;
        }
        public int count { get; }
        public void SetData(Array data)
        {
            if (data is Vector4[] numbers) Fake.NewestSerial = numbers[1].z;
        }
        public void SetData(Array data, int managedBufferStartIndex, int graphicsBufferStartIndex, int count) { }
        public void Dispose() => Fake.Buffers--;
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
        public static void RenderPrimitives(in RenderParams rparams, MeshTopology topology, int vertexCount, int instanceCount = 1) =>
            Fake.Primitives++;
        public static void ExecuteCommandBuffer(Rendering.CommandBuffer buffer) => Fake.Executed++;
    }
    public enum ColorSpace { Uninitialized = -1, Gamma = 0, Linear = 1 }
    public static class QualitySettings { public static ColorSpace activeColorSpace => Fake.Space; }
    public static class Resources { public static T Load<T>(string path) where T : Object => Activator.CreateInstance<T>(); }
    public static class SystemInfo { public static bool supportsComputeShaders => true; }
    public static class Application { public static bool isPlaying => Fake.Playing; }
    public static class Time
    {
        public static float deltaTime => Fake.DeltaTime;
        public static int frameCount => Fake.Frame;
        public static int renderedFrameCount => Fake.Frame;
    }
    public static class Debug
    {
        public static void LogError(object message) { }
        public static void LogError(object message, Object context) { }
        public static void LogWarning(object message, Object context) { }
    }
    public struct Mathf
    {
        public static float Max(float a, float b) => Math.Max(a, b);
        public static float Min(float a, float b) => Math.Min(a, b);
        public static int Min(int a, int b) => Math.Min(a, b);
        public static float Abs(float f) => Math.Abs(f);
        public static int Clamp(int value, int min, int max) => Math.Min(Math.Max(value, min), max);
        public static float Clamp(float value, float min, float max) => Math.Min(Math.Max(value, min), max);
        public static int RoundToInt(float f) => (int)Math.Round(f);
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
        internal int handle;
        public bool IsValid() => handle != 0;
        public static bool operator ==(Scene lhs, Scene rhs) => lhs.handle == rhs.handle;
        public static bool operator !=(Scene lhs, Scene rhs) => lhs.handle != rhs.handle;
        public override bool Equals(object other) => other is Scene scene && scene == this;
        public override int GetHashCode() => handle;
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
